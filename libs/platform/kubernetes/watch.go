package kubernetes

import (
	"context"
	"fmt"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// watchFor is how long one watch is held before the state is read anew anyway: it finds what changed of the object itself.
	watchFor = 30 * time.Second
	// gather is how long further events are waited for once one has come: a rollout makes several a second.
	gather = 100 * time.Millisecond
	// retryFirst and retryMax are the waits between two tries while the state cannot be read.
	retryFirst = 250 * time.Millisecond
	retryMax   = 2 * time.Second
)

// Watch calls fn with the state of a group at once and after each change, until ctx ends; changes in quick succession may
// come as one. When the API server cannot be asked, fn gets the error, once until it can be asked again, and what was known
// before still holds: the instances may well serve on. fn is called by one goroutine, the caller's own.
func (c *Client) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	var last *platform.State
	retry := retryFirst
	for ctx.Err() == nil {
		r, err := c.look(ctx, group)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if retry == retryFirst {
				fn(platform.State{}, fmt.Errorf("watch group %q: %w", group, err))
			}
			last = nil // so that fn hears that it is back
			if !pause(ctx, retry) {
				return
			}
			retry = min(2*retry, retryMax)
			continue
		}
		retry = retryFirst
		if s := r.state(); last == nil || !same(s, *last) {
			fn(s, nil)
			last = &s
		}
		begin := time.Now()
		c.awaitChange(ctx, r)
		// A watch that ends at once, because its version has expired for example, must not become a hot loop.
		if rest := gather - time.Since(begin); rest > 0 && !pause(ctx, rest) {
			return
		}
	}
}

// same compares states without the revision, which grows with changes of other groups too.
func same(a, b platform.State) bool {
	a.Revision, b.Revision = 0, 0
	return reflect.DeepEqual(a, b)
}

// awaitChange returns when a pod of the group has changed since it was read, or the watch has ended for whatever reason.
func (c *Client) awaitChange(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, watchFor)
	defer cancel()
	w, err := c.dynamic.Resource(podResource).Namespace(r.Namespace).Watch(ctx, metav1.ListOptions{
		LabelSelector: r.scale.Status.Selector, ResourceVersion: r.version,
	})
	if err != nil {
		pause(ctx, retryFirst)
		return
	}
	defer w.Stop()
	select {
	case e, open := <-w.ResultChan():
		if !open || e.Type == watch.Error {
			pause(ctx, retryFirst)
			return
		}
		pause(ctx, gather)
	case <-ctx.Done():
	}
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
