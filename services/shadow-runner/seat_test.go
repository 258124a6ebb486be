package shadowrunner

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

// TestWorkIsDoneInTheSeatOnly takes the seat, keeps it, loses it, and takes it again.
func TestWorkIsDoneInTheSeatOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSeat()
		ctx, stop := context.WithCancel(t.Context())
		var did []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.during(ctx, func(ctx context.Context) {
				did = append(did, "begins")
				<-ctx.Done()
				did = append(did, "ends")
			})
		}()
		step := func(what string, mine, moved bool, want ...string) {
			t.Helper()
			got := s.set(mine)
			if is, known := s.look(); got != moved || is != mine || !known {
				t.Errorf("%s: moved %v, mine %v, known %v; want %v, %v", what, got, is, known, moved, mine)
			}
			if synctest.Wait(); !slices.Equal(did, want) {
				t.Errorf("%s: the work %v, want %v", what, did, want)
			}
			did = nil
		}
		if mine, known := s.look(); mine || known {
			t.Errorf("before anything is said: mine %v, known %v", mine, known)
		}
		step("in reserve", false, false)
		step("taken", true, true, "begins")
		step("kept", true, false)
		step("lost", false, true, "ends")
		step("in reserve again", false, false)
		step("taken again", true, true, "begins")
		s.set(false)
		step("lost, and taken at once", true, true, "ends", "begins")
		stop()
		<-done
		if !slices.Equal(did, []string{"ends"}) {
			t.Errorf("stopped: the work %v", did)
		}
	})
}

// Work that returns by itself has done all there was to do while the seat lasts.
func TestWorkThatReturnsWaitsForTheNextTerm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSeat()
		ctx, stop := context.WithCancel(t.Context())
		n := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.during(ctx, func(context.Context) { n++ })
		}()
		for want := 1; want <= 3; want++ {
			s.set(true)
			if synctest.Wait(); n != want {
				t.Errorf("worked %d times in %d terms", n, want)
			}
			s.set(false)
			synctest.Wait()
		}
		stop()
		<-done
	})
}
