package balance_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
)

func newPool(ids ...string) *balance.Pool {
	p := balance.NewPool(balance.Config{ConnectTimeout: time.Second, SetAside: 500 * time.Millisecond, MaxWaiting: 2})
	p.Update(state(ids...))
	return p
}

func state(ids ...string) platform.State {
	s := platform.State{}
	for _, id := range ids {
		s.Instances = append(s.Instances, platform.Instance{ID: id, Address: id + ":1", Phase: platform.Ready})
	}
	return s
}

func acquire(t *testing.T, p *balance.Pool, wait time.Duration) *balance.Instance {
	t.Helper()
	i, err := p.Acquire(t.Context(), time.Now().Add(wait))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestLeastInFlightIsChosenAndTiesRotate(t *testing.T) {
	t.Parallel()
	p := newPool("a", "b", "c")
	seen := map[string]*balance.Instance{}
	for range 3 {
		i := acquire(t, p, 0)
		seen[i.ID] = i
	}
	if len(seen) != 3 {
		t.Fatalf("three requests met %d instances", len(seen))
	}
	p.Release(seen["b"])
	if got := acquire(t, p, 0); got.ID != "b" {
		t.Errorf("chose %s, b has the fewest", got.ID)
	}
	idle := map[string]int{}
	q := newPool("a", "b", "c")
	for range 9 {
		i := acquire(t, q, 0)
		idle[i.ID]++
		q.Release(i)
	}
	if idle["a"] != 3 || idle["b"] != 3 || idle["c"] != 3 {
		t.Errorf("ties did not rotate: %v", idle)
	}
}

func TestOnlyReadyInstancesGetRequests(t *testing.T) {
	t.Parallel()
	p := newPool("a")
	s := state("a", "b", "c", "d")
	s.Instances[0].Phase, s.Instances[1].Phase, s.Instances[2].Phase = platform.Draining, platform.Starting, platform.Failed
	if n := p.Update(s); n != 1 {
		t.Errorf("%d ready, want 1", n)
	}
	for range 3 {
		if got := acquire(t, p, 0); got.ID != "d" {
			t.Errorf("chose %s", got.ID)
		}
	}
}

func TestUpdateKeepsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	p := newPool("a", "b")
	i := acquire(t, p, 0)
	p.Update(state("a", "b"))
	if j := acquire(t, p, 0); j == i || j.ID == i.ID {
		t.Errorf("both requests went to %s: a report forgot what was in flight", i.ID)
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool()
		if _, err := p.Acquire(t.Context(), time.Now()); !errors.Is(err, balance.ErrNoInstance) {
			t.Errorf("without time to wait: %v", err)
		}
		got := make(chan error, 3)
		for range 2 {
			go func() { _, err := p.Acquire(t.Context(), time.Now().Add(time.Hour)); got <- err }()
		}
		synctest.Wait()
		if _, err := p.Acquire(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, balance.ErrNoInstance) {
			t.Errorf("more waited than may: %v", err)
		}
		p.Update(state("a"))
		for range 2 {
			if err := <-got; err != nil {
				t.Errorf("was not woken: %v", err)
			}
		}

		p.Update(state())
		began := time.Now()
		if _, err := p.Acquire(t.Context(), began.Add(time.Second)); !errors.Is(err, balance.ErrNoInstance) || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want the deadline of 1 s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := p.Acquire(ctx, time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
			t.Errorf("waited on for a client that had gone: %v", err)
		}
	})
}

func TestSetAsideComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool("a", "b")
		for range 2 {
			i := acquire(t, p, 0)
			p.SetAside(i)
			p.Release(i)
		}
		if _, err := p.Acquire(t.Context(), time.Now().Add(100*time.Millisecond)); !errors.Is(err, balance.ErrNoInstance) {
			t.Errorf("an instance that was set aside got a request: %v", err)
		}
		began := time.Now()
		acquire(t, p, time.Second)
		if waited := time.Since(began); waited != 400*time.Millisecond {
			t.Errorf("waited %v, want until the first comes back", waited)
		}
	})
}
