package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// news is what a platform tells of one group.
type news struct {
	state platform.State
	err   error
}

// fakePlatform tells what it is told.
type fakePlatform map[string]chan news

func (p fakePlatform) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-p[group]:
			fn(n.state, n.err)
		}
	}
}

// status keeps what is not ready.
type status struct {
	mu    sync.Mutex
	parts map[string]string
}

func (s *status) NotReady(part, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[part] = reason
}

func (s *status) Ready(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, part)
}

type bench struct {
	platform fakePlatform
	fleet    *fleet.Fleet
	guard    *egress.Guard
	status   *status
}

// run gives the body a running fleet in a bubble of its own.
func run(t *testing.T, body func(t *testing.T, b bench)) { runWith(t, func(bench) {}, body) }

// runWith is run with something to do before the fleet runs.
func runWith(t *testing.T, before func(b bench), body func(t *testing.T, b bench)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := workload.Workload{Name: "shop", Production: workload.Target{Group: "p"}, Shadow: workload.Target{Group: "s"}}
		b := bench{
			platform: fakePlatform{"p": make(chan news), "s": make(chan news)}, guard: &egress.Guard{}, status: &status{parts: map[string]string{}},
		}
		b.fleet = fleet.New(w, b.platform, b.guard, b.status, slog.New(slog.DiscardHandler), time.Now)
		before(b)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.fleet.Run(ctx) }()
		body(t, b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v after a clean stop", err)
		}
	})
}

// pick is Pick for a request that ends at once.
func (b bench) pick() (instance platform.Instance, reason string) {
	instance, done, reason := b.fleet.Pick()
	if reason == "" {
		done()
	}
	return instance, reason
}

func (b bench) tell(group string, n news) {
	b.platform[group] <- n
	synctest.Wait()
}

func instance(id, address string, phase platform.Phase) platform.Instance {
	return platform.Instance{ID: id, Address: address, Phase: phase}
}

func group(instances ...platform.Instance) news {
	return news{state: platform.State{Instances: instances}}
}

func TestNothingIsSentBeforeBothSidesAreKnown(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		shadow := group(instance("s1", "127.0.0.1:4001", platform.Ready))
		b.tell("s", shadow)
		if i, reason := b.pick(); reason != fleet.Unverified || b.guard.Control("tcp", "127.0.0.1:4001", nil) == nil {
			t.Errorf("picked %v, %q without knowing production", i, reason)
		}
		b.tell("p", group(instance("p1", "127.0.0.1:4000", platform.Ready)))
		if i, reason := b.pick(); reason != "" || i.ID != "s1" || b.guard.Control("tcp", "127.0.0.1:4001", nil) != nil {
			t.Errorf("picked %v, %q", i, reason)
		}
		if b.guard.Control("tcp", "127.0.0.1:4000", nil) == nil || len(b.status.parts) != 0 {
			t.Errorf("production may be dialled, or not ready: %v", b.status.parts)
		}
	})
}

func TestASharedAddressStopsEverything(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		b.tell("p", group(instance("p1", "127.0.0.1:4000", platform.Draining)))
		b.tell("s", group(instance("s1", "127.0.0.1:4001", platform.Ready), instance("s2", "[::1]:4000", platform.Starting)))
		i, reason := b.pick()
		why := b.status.parts["isolation/shop"]
		if reason != fleet.Unverified || !strings.Contains(why, "s2") || !strings.Contains(why, "p1") || !strings.Contains(why, "[::1]:4000") {
			t.Errorf("picked %v, %q; not ready: %q", i, reason, why)
		}
		if b.guard.Control("tcp", "127.0.0.1:4001", nil) == nil || len(b.fleet.Ready()) != 0 {
			t.Error("the rest of the shadow may still be dialled")
		}
		if _, _, ok := b.fleet.Lease(t.Context()); ok {
			t.Error("an instance was leased")
		}
		b.tell("s", group(instance("s1", "127.0.0.1:4001", platform.Ready)))
		if _, reason := b.pick(); reason != "" || len(b.status.parts) != 0 {
			t.Errorf("not back once they are apart: %q, %v", reason, b.status.parts)
		}
	})
}

func TestReadyInstancesTakeTurns(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		b.tell("p", group())
		b.tell("s", group())
		if _, reason := b.pick(); reason != fleet.Asleep {
			t.Errorf("reason %q, want asleep", reason)
		}
		b.tell("s", group(instance("a", "127.0.0.1:1", platform.Ready), instance("b", "127.0.0.1:2", platform.Starting), instance("c", "127.0.0.1:3", platform.Ready)))
		picks := map[string]int{}
		for range 10 {
			i, _ := b.pick()
			picks[i.ID]++
		}
		if picks["a"] != 5 || picks["c"] != 5 {
			t.Errorf("picked %v, want a and c in turn", picks)
		}
		leased, release, ok := b.fleet.Lease(t.Context())
		if i, reason := b.pick(); !ok || leased.ID != "a" || i.ID != "c" || reason != "" {
			t.Errorf("leased %v, then picked %v, %q", leased, i, reason)
		}
		_, releaseC, _ := b.fleet.Lease(t.Context())
		if _, reason := b.pick(); reason != fleet.Probing {
			t.Errorf("reason %q, want probing", reason)
		}
		release()
		releaseC()
		if _, reason := b.pick(); reason != "" {
			t.Errorf("reason %q after the release", reason)
		}
		b.tell("s", group(instance("a", "127.0.0.1:1", platform.Draining)))
		if b.fleet.IsReady("a") {
			t.Error("a draining instance is ready")
		}
	})
}

func TestASilentPlatformIsTrustedForAWhileOnly(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		b.tell("p", group(instance("p1", "127.0.0.1:4000", platform.Ready)))
		b.tell("s", group(instance("s1", "127.0.0.1:4001", platform.Ready)))
		b.tell("p", news{err: errors.New("ask the agent at /run/agent.sock: refused")})
		if _, reason := b.pick(); reason != "" || !strings.Contains(b.status.parts["platform/p"], "/run/agent.sock") {
			t.Errorf("reason %q, not ready %v", reason, b.status.parts)
		}
		time.Sleep(11 * time.Second)
		if _, reason := b.pick(); reason != fleet.Unverified {
			t.Errorf("reason %q when production's addresses may have changed", reason)
		}
		b.tell("p", group(instance("p1", "127.0.0.1:4000", platform.Ready)))
		if _, reason := b.pick(); reason != "" || len(b.status.parts) != 0 {
			t.Errorf("reason %q, not ready %v when it is back", reason, b.status.parts)
		}
	})
}

func TestWhenALeasedInstanceLeft(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		state := func(p platform.Phase) news {
			return news{state: platform.State{Group: "s", Instances: []platform.Instance{{ID: "s1", Address: "127.0.0.1:2001", Phase: p}}}}
		}
		b.platform["p"] <- news{state: platform.State{Group: "p"}}
		b.platform["s"] <- state(platform.Ready)
		synctest.Wait()
		i, release, ok := b.fleet.Lease(t.Context())
		if at, gone := b.fleet.Left("s1"); !ok || i.ID != "s1" || gone || !at.IsZero() {
			t.Fatalf("leased %v, %v; left at %v, %v", i, ok, at, gone)
		}
		defer release()
		time.Sleep(time.Second)
		begin := time.Now()
		b.platform["s"] <- state(platform.Failed)
		synctest.Wait()
		time.Sleep(time.Second)
		b.platform["s"] <- news{state: platform.State{Group: "s"}}
		synctest.Wait()
		if at, gone := b.fleet.Left("s1"); !gone || !at.Equal(begin) {
			t.Errorf("left at %v, %v; want %v", at, gone, begin)
		}
		b.platform["s"] <- state(platform.Ready)
		synctest.Wait()
		if at, gone := b.fleet.Left("s1"); gone || !at.IsZero() {
			t.Errorf("back, but left at %v, %v", at, gone)
		}
		for _, rolled := range []news{state(platform.Draining), {state: platform.State{Group: "s"}}} {
			b.platform["s"] <- rolled
			synctest.Wait()
			if at, gone := b.fleet.Left("s1"); !gone || !at.IsZero() {
				t.Errorf("left at %v, %v as if it had not been told to", at, gone)
			}
		}
		b.platform["s"] <- state(platform.Ready)
		b.platform["s"] <- news{err: errors.New("away")}
		time.Sleep(time.Minute)
		if at, gone := b.fleet.Left("s1"); !gone || !at.IsZero() {
			t.Errorf("left at %v, %v while the platform is away", at, gone)
		}
	})
}
