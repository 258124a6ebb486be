package fleet_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// leasing asks for a lease; the channel says of which instance it is, or is closed when there is none.
func (b bench) leasing(ctx context.Context) <-chan string {
	leased := make(chan string, 1)
	go func() {
		defer close(leased)
		if i, release, ok := b.fleet.Lease(ctx); ok {
			leased <- i.ID
			release()
		}
	}()
	synctest.Wait()
	return leased
}

// TestALeaseWaitsForFlights: what is still under way to an instance is load that nobody meant to measure it under.
func TestALeaseWaitsForFlights(t *testing.T) {
	run(t, func(t *testing.T, b bench) {
		a, c := instance("a", "127.0.0.1:1", platform.Ready), instance("c", "127.0.0.1:3", platform.Ready)
		b.tell("p", group())
		b.tell("s", group(a, c))
		land := map[string][]func(){}
		pick := func() (id string) {
			i, done, reason := b.fleet.Pick()
			if reason != "" {
				t.Fatalf("reason %q", reason)
			}
			land[i.ID] = append(land[i.ID], done)
			return i.ID
		}
		waiting := func(leased <-chan string, what string) {
			t.Helper()
			synctest.Wait()
			select {
			case id := <-leased:
				t.Fatalf("leased %q with %s", id, what)
			default:
			}
		}
		for range 4 {
			pick()
		}

		ctx, cancel := context.WithCancel(t.Context())
		leased := b.leasing(ctx)
		waiting(leased, "two requests under way")
		for range 4 {
			if id := pick(); id != "c" {
				t.Errorf("picked %s, which is being leased", id)
			}
		}
		cancel()
		if id := <-leased; id != "" || pick() != "a" {
			t.Errorf("leased %q after the end of its context, or it is not picked again", id)
		}

		leased = b.leasing(t.Context())
		land["a"][0]()
		land["a"][1]()
		waiting(leased, "one request under way")
		land["a"][2]()
		if id := <-leased; id != "a" {
			t.Errorf("leased %q, want a as nothing is under way to it", id)
		}

		for pick() != "a" {
		}
		leased = b.leasing(t.Context())
		b.tell("s", group(c))
		land["a"][3]()
		if id := <-leased; id != "" {
			t.Errorf("leased %q, which has gone", id)
		}
	})
}
