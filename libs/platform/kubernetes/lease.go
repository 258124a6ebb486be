package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var leaseResource = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}

// epochAnnotation of a lease numbers its leaderships; each is higher than every one before it, over deletion too.
const epochAnnotation = "foreshadow.dev/epoch"

// addressAnnotation of a lease says where its holder serves, after the epoch that it was written under: a release that does not know
// it leaves it as it was when it takes the lease.
const addressAnnotation = "foreshadow.dev/address"

// LeaseConfig names the lease that one of several processes holds.
type LeaseConfig struct {
	Namespace, Name string
	// Identity of this process, unique among those that contend.
	Identity string
	// Address is where this process serves while it leads, host:port; empty when nobody needs to know.
	Address string
	// Duration after which a leader that was not heard of is replaced. It is renewed four times as often, and given up by its
	// holder three quarters after the last renewal was asked for.
	Duration time.Duration
}

// LeaseView is what a process that does not lead knows of who does. The zero value is that nobody is known to.
type LeaseView struct {
	Holder string
	// Address is where the holder serves, host:port; empty when it did not say.
	Address string
	// Err is why the lease is not known: for its duration it was not read, or was free and could not be taken.
	Err error
}

// Leadership is what the process that leads knows of it.
type Leadership struct {
	Epoch uint64
	// Holds says whether it lasts at this moment. One that was frozen, and wakes, learns from it that it leads no more before its
	// context ends, which takes a request to the API server.
	Holds func() bool
}

// Lease is a leadership by a Lease object. It makes one process lead at a time as far as clocks and schedulers allow; what a
// leader that was frozen writes when it wakes is refused by its epoch, see Client.Fence.
type Lease struct {
	client *Client
	cfg    LeaseConfig
	log    *slog.Logger
	// look is called with what was seen each time this process does not come to lead, and with nobody before it tries to: who
	// leads already never knows of another who does.
	look func(LeaseView)
	now  func() time.Time

	// What was seen of the lease, and when by the clock of this process: clocks of others are not compared.
	seen     string
	seenTime time.Time
	// known is when it was last known who holds the lease.
	known time.Time
	// until is how long the leadership of this process holds, by its own clock; nil while it does not lead.
	until atomic.Pointer[time.Time]
}

// NewLease contends for a lease; look is told who leads while this process does not, about four times in its duration.
func NewLease(client *Client, cfg LeaseConfig, log *slog.Logger, look func(LeaseView)) *Lease {
	return &Lease{client: client, cfg: cfg, log: log, look: look, now: time.Now}
}

// Run contends until ctx ends, and calls lead each time it leads. The context of lead ends when the leadership is lost, and with
// ctx: then the lease is held until lead has returned. Run contends again after that; an error of lead ends it.
func (l *Lease) Run(ctx context.Context, lead func(context.Context, Leadership) error) error {
	for ctx.Err() == nil {
		lease, epoch := l.try(ctx)
		if lease == nil {
			pause(ctx, l.cfg.Duration/4)
			continue
		}
		l.log.Info("leading", "epoch", epoch)
		if err := l.hold(ctx, lease, epoch, lead); err != nil {
			return err
		}
		l.log.Info("leading no more", "epoch", epoch)
	}
	return nil
}

// try looks at the lease once; it is nil when it was not taken. That it is not known is said once that lasts: what was seen of it
// until then may hold no more.
func (l *Lease) try(ctx context.Context) (*unstructured.Unstructured, uint64) {
	lease, epoch, err := l.acquire(ctx)
	if err != nil && ctx.Err() == nil {
		l.log.Debug("lease not acquired", "err", err)
		if l.now().Sub(l.known) > l.cfg.Duration {
			l.look(LeaseView{Err: err})
		}
	}
	return lease, epoch
}

// acquire takes the lease when it is free; the lease is nil when it is not.
func (l *Lease) acquire(ctx context.Context) (*unstructured.Unstructured, uint64, error) {
	call, cancel := context.WithTimeout(ctx, l.cfg.Duration/2)
	defer cancel()
	leases := l.client.dynamic.Resource(leaseResource).Namespace(l.cfg.Namespace)
	lease, err := leases.Get(call, l.cfg.Name, metav1.GetOptions{})
	fresh := apierrors.IsNotFound(err)
	if fresh {
		lease = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
			"metadata": map[string]any{"name": l.cfg.Name, "namespace": l.cfg.Namespace}, "spec": map[string]any{},
		}}
	} else if err != nil {
		return nil, 0, fmt.Errorf("read lease: %w", err)
	}
	if !fresh && !l.free(lease) {
		l.known = l.now()
		l.look(view(lease))
		return nil, 0, nil
	}
	l.look(LeaseView{})
	before, _ := strconv.ParseUint(lease.GetAnnotations()[epochAnnotation], 10, 64)
	// By the clock, so that a lease that was deleted does not begin anew below what objects have seen.
	epoch := max(before+1, uint64(l.now().UnixMilli())) // #nosec G115: the clock is past 1970
	l.write(lease, epoch)
	transitions, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseTransitions")
	_ = unstructured.SetNestedField(lease.Object, transitions+1, "spec", "leaseTransitions")
	_ = unstructured.SetNestedField(lease.Object, timestamp(l.now()), "spec", "acquireTime")
	asked := l.now()
	if fresh {
		lease, err = leases.Create(call, lease, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		lease, err = leases.Update(call, lease, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		l.known = l.now() // it is ours, or somebody else was faster
	}
	if err != nil {
		return nil, 0, fmt.Errorf("take lease: %w", err)
	}
	l.extend(asked)
	return lease, epoch, nil
}

// view is what a lease says of its holder.
func view(lease *unstructured.Unstructured) LeaseView {
	v := LeaseView{}
	v.Holder, _, _ = unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	if epoch, address, _ := strings.Cut(lease.GetAnnotations()[addressAnnotation], " "); epoch == lease.GetAnnotations()[epochAnnotation] {
		v.Address = address
	}
	return v
}

// free says whether the lease has no holder, or one that has not renewed it for its duration since it was first seen so.
func (l *Lease) free(lease *unstructured.Unstructured) bool {
	holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	if holder == "" || holder == l.cfg.Identity {
		return true
	}
	if v := lease.GetResourceVersion(); v != l.seen {
		l.seen, l.seenTime = v, l.now()
	}
	return l.now().Sub(l.seenTime) > l.cfg.Duration
}

func (l *Lease) write(lease *unstructured.Unstructured, epoch uint64) {
	annotations := lease.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[epochAnnotation] = strconv.FormatUint(epoch, 10)
	delete(annotations, addressAnnotation)
	if l.cfg.Address != "" {
		annotations[addressAnnotation] = annotations[epochAnnotation] + " " + l.cfg.Address
	}
	lease.SetAnnotations(annotations)
	_ = unstructured.SetNestedField(lease.Object, l.cfg.Identity, "spec", "holderIdentity")
	_ = unstructured.SetNestedField(lease.Object, int64(max(1, l.cfg.Duration/time.Second)), "spec", "leaseDurationSeconds")
	_ = unstructured.SetNestedField(lease.Object, timestamp(l.now()), "spec", "renewTime")
}

// timestamp is a time as the API server writes micro seconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// extend has the leadership hold for three quarters of the duration from when the lease was written. Others count the whole of it
// from when they saw that, which was later.
func (l *Lease) extend(asked time.Time) {
	until := asked.Add(3 * l.cfg.Duration / 4)
	l.until.Store(&until)
}

// left is how long the leadership holds yet.
func (l *Lease) left() time.Duration {
	until := l.until.Load()
	if until == nil {
		return 0
	}
	return until.Sub(l.now())
}

// hold renews the lease while lead runs, and gives it back after.
func (l *Lease) hold(ctx context.Context, lease *unstructured.Unstructured, epoch uint64, lead func(context.Context, Leadership) error) error {
	defer l.until.Store(nil)
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- lead(leading, Leadership{Epoch: epoch, Holds: func() bool { return l.left() > 0 }}) }()
	// One that stops holds the lease until it has: the next one begins when nothing is under way any more.
	renewing := context.WithoutCancel(ctx)
	tick := time.NewTicker(l.cfg.Duration / 4)
	defer tick.Stop()
	end := time.NewTimer(l.left())
	defer end.Stop()
	var err error
	for {
		select {
		case err := <-done:
			l.release(lease)
			return err
		case <-tick.C:
			var next *unstructured.Unstructured
			if next, err = l.renew(renewing, lease, epoch); err == nil {
				lease = next
				end.Reset(l.left())
			}
		case <-end.C:
			err = errors.Join(errLost, err)
		}
		if errors.Is(err, errLost) {
			l.until.Store(nil)
			l.log.Warn("lease lost", "err", err)
			stop()
			return <-done
		}
	}
}

var errLost = errors.New("somebody else leads, or may")

// renew has others hear of this process. A lease that was written since it was read may have been so by this process, whose answer was
// lost: it is read anew then.
func (l *Lease) renew(ctx context.Context, lease *unstructured.Unstructured, epoch uint64) (*unstructured.Unstructured, error) {
	call, cancel := context.WithTimeout(ctx, min(l.cfg.Duration/4, l.left()))
	defer cancel()
	next, err := l.rewrite(call, lease, epoch)
	if apierrors.IsConflict(err) {
		now, readErr := l.client.dynamic.Resource(leaseResource).Namespace(l.cfg.Namespace).Get(call, l.cfg.Name, metav1.GetOptions{})
		switch {
		case readErr != nil:
			return nil, errors.Join(err, readErr)
		case view(now).Holder == l.cfg.Identity && now.GetAnnotations()[epochAnnotation] == strconv.FormatUint(epoch, 10):
			next, err = l.rewrite(call, now, epoch)
		}
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	return next, err
}

func (l *Lease) rewrite(ctx context.Context, lease *unstructured.Unstructured, epoch uint64) (*unstructured.Unstructured, error) {
	next, asked := lease.DeepCopy(), l.now()
	l.write(next, epoch)
	next, err := l.client.dynamic.Resource(leaseResource).Namespace(l.cfg.Namespace).Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err == nil {
		l.extend(asked)
	}
	return next, err
}

// release gives the lease back, so that the next one need not wait. It may fail: then the next one waits.
func (l *Lease) release(lease *unstructured.Unstructured) {
	call, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	next := lease.DeepCopy()
	_ = unstructured.SetNestedField(next.Object, "", "spec", "holderIdentity")
	if _, err := l.client.dynamic.Resource(leaseResource).Namespace(l.cfg.Namespace).Update(call, next, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil {
		l.log.Debug("lease not given back", "err", err)
	}
}
