package measure_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// cold answers slowly for a while after its start, and ever faster.
type cold struct {
	start   time.Time
	warmFor time.Duration
	fail    bool
}

func (c cold) Send(context.Context, string, *captured.Request) client.Outcome {
	age := time.Since(c.start)
	d := 10 * time.Millisecond
	if age < c.warmFor {
		d += time.Duration(90 * float64(time.Millisecond) * (1 - float64(age)/float64(c.warmFor)))
	}
	time.Sleep(d) // the service law itself
	if c.fail {
		return client.Outcome{Done: time.Now(), Err: errors.New("refused")}
	}
	return client.Outcome{Done: time.Now(), Status: 200}
}

func TestTheTimeToFullSpeedIsLearnt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		server cold
		want   time.Duration // within a second
		known  bool
	}{
		"six seconds":     {cold{warmFor: 6 * time.Second}, 6 * time.Second, true},
		"warm at once":    {cold{}, 0, true},
		"never that warm": {cold{warmFor: 40 * time.Second}, 0, false},
		"it fails":        {cold{fail: true}, 0, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHolder(t, time.Second)
				tc.server.start = time.Now()
				h.Sender, h.Wait = tc.server, pace.Timer
				o := order(t, "virtual")
				got, known, err := h.Warmup(t.Context(), o.Instance, o.Mix, 50, 20*time.Second, o.Plan.SLO)
				if err != nil || known != tc.known || known && math.Abs((got-tc.want).Seconds()) > 1 {
					t.Errorf("%v, %v, %v; want %v, %v", got, known, err, tc.want, tc.known)
				}
				if l := h.Book.Ledger(); !l.Balanced() || l.Pending != 0 {
					t.Errorf("ledger %+v", l)
				}
			})
		})
	}
}
