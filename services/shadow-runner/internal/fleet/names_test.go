package fleet_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/fleet"
)

// server is a name server that answers when it is told to.
type server struct {
	asked   chan string
	answers chan reply
}

type reply struct {
	addr string
	err  error
}

func (s server) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	s.asked <- host
	select {
	case a := <-s.answers:
		if a.err != nil {
			return nil, a.err
		}
		return []netip.Addr{netip.MustParseAddr(a.addr)}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func withServer(t *testing.T, body func(t *testing.T, b bench, s server)) {
	s := server{}
	runWith(t, func(b bench) {
		s.asked, s.answers = make(chan string, 10), make(chan reply)
		b.fleet.SetLookup(s.lookup)
	}, func(t *testing.T, b bench) { body(t, b, s) })
}

func (s server) answer(a reply) {
	s.answers <- a
	synctest.Wait()
}

// TestASlowNameServerKeepsNobodyWaiting: an instance whose name is being looked up is left out, and the others serve.
func TestASlowNameServerKeepsNobodyWaiting(t *testing.T) {
	withServer(t, func(t *testing.T, b bench, s server) {
		b.tell("p", group(instance("p1", "192.0.2.1:80", platform.Ready)))
		b.tell("s", group(instance("s1", "192.0.2.2:80", platform.Ready), instance("s2", "shadow.example:80", platform.Ready)))
		if host := <-s.asked; host != "shadow.example" {
			t.Fatalf("asked for %s", host)
		}
		begun := time.Now()
		for range 2 {
			if i, reason := b.pick(); i.ID != "s1" || reason != "" {
				t.Errorf("picked %v, %q while the name is looked up", i, reason)
			}
		}
		if time.Since(begun) != 0 || b.guard.Control("tcp", "192.0.2.3:80", nil) == nil {
			t.Errorf("waited %v, or the address may be reached before it is known", time.Since(begun))
		}
		s.answer(reply{addr: "192.0.2.3"})
		seen := map[string]bool{}
		for range 2 {
			i, _ := b.pick()
			seen[i.ID] = true
		}
		if !seen["s2"] || b.guard.Control("tcp", "192.0.2.3:80", nil) != nil {
			t.Errorf("picked %v once the name is known", seen)
		}
	})
}

// TestProductionWithoutAnAddressStopsEverything: until its first answer, and after a bad one, which is asked for again. What
// was answered before holds while the next answer is waited for.
func TestProductionWithoutAnAddressStopsEverything(t *testing.T) {
	withServer(t, func(t *testing.T, b bench, s server) {
		production := group(instance("p1", "production.example:80", platform.Ready))
		b.tell("s", group(instance("s1", "192.0.2.2:80", platform.Ready)))
		b.tell("p", production)
		if _, reason := b.pick(); reason != fleet.Unverified || b.guard.Control("tcp", "192.0.2.2:80", nil) == nil {
			t.Errorf("reason %q before the address of production is known", reason)
		}
		s.answer(reply{addr: "192.0.2.1"})
		if _, reason := b.pick(); reason != "" {
			t.Errorf("reason %q when it is known", reason)
		}
		b.tell("p", production)
		if _, reason := b.pick(); reason != "" {
			t.Errorf("reason %q while it is looked up again", reason)
		}
		s.answer(reply{err: errors.New("server misbehaving")})
		if _, reason := b.pick(); reason != fleet.Unverified || !strings.Contains(b.status.parts["isolation/shop"], "server misbehaving") {
			t.Errorf("reason %q, not ready %v", reason, b.status.parts)
		}
		// It is looked up again with no report of the platform.
		s.answer(reply{addr: "192.0.2.2"})
		if why := b.status.parts["isolation/shop"]; !strings.Contains(why, "share the address") {
			t.Errorf("production is where the shadow is: not ready %q", why)
		}
		b.tell("p", production)
		s.answer(reply{addr: "192.0.2.1"})
		if _, reason := b.pick(); reason != "" || len(b.status.parts) != 0 {
			t.Errorf("reason %q, not ready %v", reason, b.status.parts)
		}
	})
}

// TestLookupsEnd: a server that never answers takes a bounded time, also that of a trial, and names no longer in use are
// forgotten.
func TestLookupsEnd(t *testing.T) {
	withServer(t, func(t *testing.T, b bench, s server) {
		b.tell("p", group(instance("p1", "192.0.2.1:80", platform.Ready)))
		b.tell("s", group(instance("s1", "192.0.2.2:80", platform.Ready)))
		begun := time.Now()
		release, err := b.fleet.Admit(t.Context(), []platform.Instance{instance("t1", "trial.example:80", platform.Ready)})
		if err == nil || time.Since(begun) != time.Second {
			t.Errorf("admitted with %v after %v", err, time.Since(begun))
		}
		if _, reason := b.pick(); reason != fleet.Unverified {
			t.Errorf("reason %q while a trial may be anywhere", reason)
		}
		release()
		if i, reason := b.pick(); reason != "" || i.ID != "s1" {
			t.Errorf("picked %v, %q after the release", i, reason)
		}
		go func() { s.answers <- reply{addr: "192.0.2.4"} }()
		release, err = b.fleet.Admit(t.Context(), []platform.Instance{instance("t1", "trial.example:80", platform.Ready)})
		if err != nil || b.guard.Control("tcp", "192.0.2.4:80", nil) != nil {
			t.Errorf("not admitted: %v", err)
		}
		release()
		if b.guard.Control("tcp", "192.0.2.4:80", nil) == nil {
			t.Error("may be reached after the release")
		}
	})
}
