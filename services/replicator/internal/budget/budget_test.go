package budget

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestShareFollowsTheLoad lets the process use all of its processors for ten seconds, then half of them.
func TestShareFollowsTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(0.8)
		begun := time.Now()
		var load atomic.Int64 // percent
		var used time.Duration
		last := begun
		b.used = func() (time.Duration, bool) {
			now := time.Now()
			used += time.Duration(float64(now.Sub(last)) * float64(load.Load()) / 100 * float64(runtime.GOMAXPROCS(0)))
			last = now
			return used, true
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Run(ctx)
		at := func(percent int64, d time.Duration) float64 {
			load.Store(percent)
			time.Sleep(d)
			synctest.Wait()
			return b.Share()
		}
		if got := at(50, 5*time.Second); got != 1 {
			t.Errorf("share %v at half the load", got)
		}
		if got := at(100, time.Second+time.Millisecond); got > 0.25 || got < 0.1 {
			t.Errorf("share %v after a second of too much", got)
		}
		if got := at(100, 10*time.Second); got != 0 {
			t.Errorf("share %v after ten seconds of too much", got)
		}
		kept := at(75, 5*time.Second)
		if got := at(75, 5*time.Second); got != kept {
			t.Errorf("share goes from %v to %v just below the budget", kept, got)
		}
		if got := at(50, 3*time.Second); got < 0.25 || got > 0.5 {
			t.Errorf("share %v after three quiet seconds", got)
		}
		if got := at(50, 10*time.Second); got != 1 {
			t.Errorf("share %v after the load has gone", got)
		}
	})
}

func TestWholeBudgetNeverSheds(t *testing.T) {
	t.Parallel()
	b := New(1)
	b.Run(t.Context()) // returns at once: there is nothing to watch
	if b.Share() != 1 {
		t.Errorf("share %v", b.Share())
	}
}

func TestCPUTimeGrows(t *testing.T) {
	t.Parallel()
	before, ok := cpuTime()
	if !ok {
		t.Skip("skipped: this system does not tell the CPU time of a process")
	}
	for {
		if now, _ := cpuTime(); now > before {
			return
		}
	}
}
