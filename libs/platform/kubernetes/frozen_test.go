package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// freezer is the connection of a leader that is stopped, as SIGSTOP does, at one of its requests: before it leaves, or when
// its answer has come and was not read yet.
type freezer struct {
	next   http.RoundTripper
	at     atomic.Int64 // number of the request; 0 = none
	after  bool
	frozen chan struct{} // closed when it is stopped
	wake   chan struct{} // closed to let it go on

	requests atomic.Int64
	// fenced: the next leader has fenced; stale counts the writes that got through since.
	fenced atomic.Bool
	stale  atomic.Int64
	once   sync.Once
}

func (f *freezer) RoundTrip(req *http.Request) (*http.Response, error) {
	here := f.requests.Add(1) == f.at.Load()
	if here && !f.after {
		f.stop()
	}
	sentLate := f.fenced.Load()
	resp, err := f.next.RoundTrip(req)
	if err == nil && sentLate && req.Method != http.MethodGet && resp.StatusCode < 300 {
		f.stale.Add(1)
	}
	if here && f.after {
		f.stop()
	}
	return resp, err
}

func (f *freezer) stop() {
	f.once.Do(func() { close(f.frozen) })
	<-f.wake
}

// TestFrozenLeaderWritesNothing stops a leader at a request of chance within a change of chance, lets another one take over
// and make its own change, and wakes the first. None of what it still has under way may get through, and what runs is what
// the second one asked for.
func TestFrozenLeaderWritesNothing(t *testing.T) {
	t.Parallel()
	runs, lanes := uint64(40), uint64(1)
	if kubernetestest.Real() {
		runs, lanes = 200, 4 // side by side, in a namespace each
	}
	var stopped, stale atomic.Int64
	t.Run("runs", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				c := kubernetestest.New(t)
				for seed := lane; seed < runs; seed += lanes {
					s, n := frozenRun(t, c, seed)
					if s {
						stopped.Add(1)
					}
					stale.Add(n)
				}
			})
		}
	})
	t.Logf("%d runs, in %d of them the leader was stopped within its change; %d stale writes", runs, stopped.Load(), stale.Load())
	if stale.Load() != 0 || stopped.Load() < int64(runs/2) { // #nosec G115: a few hundred
		t.Errorf("%d stale writes, stopped in %d runs", stale.Load(), stopped.Load())
	}
}

func frozenRun(t *testing.T, c *kubernetestest.Cluster, seed uint64) (stopped bool, stale int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	kind, name := []string{deployment, statefulSet}[random.IntN(2)], fmt.Sprintf("shop-%d", seed)
	groups := map[string]workload.Kubernetes{"shop": c.Workload(kind, name, 3)}
	defer c.Delete("apps/v1", strings.ToLower(kind)+"s", name)
	second := newRig(t, groups, c)
	f := &freezer{after: random.IntN(2) == 0, frozen: make(chan struct{}), wake: make(chan struct{})}
	cfg := c.Config()
	cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		f.next = next
		return f
	}
	first, err := NewFor(cfg, DefaultConfig(), groups)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := first.Fence(t.Context(), "shop", 1); err != nil {
		t.Fatal(err)
	}
	f.requests.Store(0)
	f.at.Store(1 + random.Int64N(14))
	change := platform.Change{Instances: 1 + random.IntN(6), Generation: 10, ObservedDesired: 3, Epoch: 1}
	if random.IntN(2) == 0 {
		change.Instances, change.Size = 3, platform.Size{CPUCores: 0.25}
	}
	done := make(chan error, 1)
	go func() { done <- changeFully(t.Context(), first, change) }()
	select {
	case <-f.frozen:
		stopped = true
	case err := <-done:
		done <- err
	}
	if err := second.client.Fence(t.Context(), "shop", 2); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	f.fenced.Store(true)
	st := second.state()
	want := platform.Change{Instances: 1 + random.IntN(6), Generation: 11, ObservedDesired: st.Desired, Epoch: 2}
	second.scale(want)
	close(f.wake)
	if err := <-done; err != nil && !errors.Is(err, platform.ErrConflict) {
		t.Errorf("seed %d: the first leader got %v", seed, err)
	}
	if st = second.state(); st.Desired != want.Instances || st.Generation != 11 || st.Foreign {
		t.Errorf("seed %d: %+v, want %d as the second leader asked", seed, st, want.Instances)
	}
	if n := f.stale.Load(); n > 0 {
		t.Errorf("seed %d: %d stale writes of %+v frozen at request %d", seed, n, change, f.at.Load())
	}
	if spec := c.Find("apps/v1", strings.ToLower(kind)+"s", name)["spec"].(map[string]any); spec["paused"] == true {
		t.Errorf("seed %d: left paused", seed)
	}
	return stopped, f.stale.Load()
}

// changeFully carries a change as far as it goes.
func changeFully(ctx context.Context, c *Client, change platform.Change) error {
	for range 5 {
		s, err := c.Scale(ctx, "shop", change)
		if err != nil {
			return err
		}
		if change.Size == (platform.Size{}) || sized(s, change.Size) == len(s.Instances) && !differs(s.Size, change.Size) {
			return nil
		}
	}
	return fmt.Errorf("not done after 5 calls")
}
