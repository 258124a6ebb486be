package kubernetes

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
)

// watched keeps what a watch has said.
type watched struct {
	mu     sync.Mutex
	states []platform.State
	errs   []error
}

func (w *watched) note(s platform.State, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.states = append(w.states, s)
}

func (w *watched) newest() (platform.State, int, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.states) == 0 {
		return platform.State{}, 0, len(w.errs)
	}
	return w.states[len(w.states)-1], len(w.states), len(w.errs)
}

func (r *rig) watch() *watched {
	w := &watched{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.client.Watch(ctx, "shop", w.note)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func TestWatchFollows(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	w := r.watch()
	r.Until("the first state", func() bool { s, _, _ := w.newest(); return s.Ready() == 1 })
	r.scale(platform.Change{Instances: 3, Generation: 1, ObservedDesired: 1})
	r.Until("three to be ready", func() bool { s, _, _ := w.newest(); return s.Ready() == 3 && s.Desired == 3 })
	pod := r.List("v1", "pods")[0].GetName()
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method == http.MethodGet {
			return kubernetestest.Sever
		}
		return 0
	})
	// The watch that is held has to say something, so that the state is read.
	r.Patch("v1", "pods", pod, map[string]any{"metadata": map[string]any{"labels": map[string]any{"wake": "up"}}})
	r.Until("the error", func() bool { _, _, errs := w.newest(); return errs == 1 })
	_, before, _ := w.newest()
	r.Faults.Inject(nil)
	r.Until("the state to be told again", func() bool { _, n, _ := w.newest(); return n > before })
	if _, _, errs := w.newest(); errs != 1 {
		t.Errorf("told of the same error %d times", errs)
	}
}

func TestWatchThatExpiresIsNoHotLoop(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	r.Faults.Inject(func(q *http.Request) int {
		if q.URL.Query().Get("watch") != "" {
			return http.StatusGone
		}
		return 0
	})
	w := r.watch()
	r.Until("the first state", func() bool { _, n, _ := w.newest(); return n > 0 })
	r.Faults.Requests()
	pause(t.Context(), 2*time.Second) // the rate is what is tested
	if n := len(r.Faults.Requests()); n < 4 || n > 40 {
		t.Errorf("%d requests within 2 s", n)
	}
	r.scale(platform.Change{Instances: 2, Generation: 1, ObservedDesired: 1})
	r.Until("the change to be seen without a watch", func() bool { s, _, _ := w.newest(); return s.Ready() == 2 })
}
