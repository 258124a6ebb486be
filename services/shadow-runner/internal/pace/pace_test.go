package pace_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTimerWaitsUntilDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		due := time.Now().Add(3 * time.Second)
		if err := pace.Timer(t.Context(), due); err != nil || !time.Now().Equal(due) {
			t.Errorf("woke at %v with %v, want %v", time.Now(), err, due)
		}
	})
}

func TestPreciseIsNeverEarlyAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	due := time.Now().Add(20 * time.Millisecond)
	if err := pace.Precise(t.Context(), due); err != nil || time.Now().Before(due) {
		t.Errorf("woke %v before it was due, %v", time.Until(due), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, wait := range []pace.Wait{pace.Precise, pace.Timer} {
		for _, due := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(-time.Hour)} {
			if err := wait(ctx, due); !errors.Is(err, context.Canceled) {
				t.Errorf("waiting for %v ended with %v, want the context's error", due, err)
			}
		}
	}
}

// BenchmarkGenerator waits for 2,000 moments a second, half a millisecond apart, and reports how late it wakes.
func BenchmarkGenerator(b *testing.B) {
	for name, wait := range map[string]pace.Wait{"precise": pace.Precise, "timer": pace.Timer} {
		b.Run(name, func(b *testing.B) {
			lags := make([]time.Duration, b.N)
			begin := time.Now()
			for i := range b.N {
				due := begin.Add(time.Duration(i) * 500 * time.Microsecond)
				_ = wait(b.Context(), due) // the context outlives the loop
				lags[i] = time.Since(due)
			}
			slices.Sort(lags)
			b.ReportMetric(float64(lags[len(lags)/2].Microseconds()), "p50-lag-µs")
			b.ReportMetric(float64(lags[len(lags)*95/100].Microseconds()), "p95-lag-µs")
			b.ReportMetric(float64(lags[len(lags)-1].Microseconds()), "max-lag-µs")
		})
	}
}
