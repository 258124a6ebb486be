package probe_test

import (
	"math"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// even is n requests spread over the window, each changed by edit.
func even(n int, w probe.Window, edit func(i int, s *probe.Sample)) []probe.Sample {
	out := make([]probe.Sample, n)
	for i := range out {
		out[i] = probe.Sample{Due: w.Start + time.Duration(i)*(w.End-w.Start)/time.Duration(n), Latency: 20 * time.Millisecond}
		if edit != nil {
			edit(i, &out[i])
		}
	}
	return out
}

func TestJudge(t *testing.T) {
	t.Parallel()
	w := probe.Window{Start: time.Second, End: 3 * time.Second}
	tests := map[string]struct {
		edit   func(i int, s *probe.Sample)
		broken string
		valid  bool
	}{
		"good": {nil, "", true},
		"four in a hundred are slow": {func(i int, s *probe.Sample) {
			if i%25 == 0 {
				s.Latency = 300 * time.Millisecond
			}
		}, "", true},
		"six in a hundred are slow": {func(i int, s *probe.Sample) {
			if i%16 == 0 {
				s.Latency = 300 * time.Millisecond
			}
		}, probe.BrokenLatency, true},
		"two fail fast":            {func(i int, s *probe.Sample) { s.Failed, s.Latency = i < 3, time.Millisecond }, probe.BrokenErrors, true},
		"three are never answered": {func(i int, s *probe.Sample) { s.Unanswered = i < 3 }, probe.BrokenErrors, true},
		"the last five take long": {func(i int, s *probe.Sample) {
			if i >= 195 {
				s.Latency = 5 * time.Second
			}
		}, probe.BrokenThroughput, true},
		"a queue builds up below the SLO": {func(i int, s *probe.Sample) { s.Latency = time.Duration(i) * 700 * time.Microsecond }, "", true},
		"one hiccup of the generator":     {func(i int, s *probe.Sample) { s.Lag = time.Duration(i/199) * 50 * time.Millisecond }, "", true},
		"a generator that is behind":      {func(_ int, s *probe.Sample) { s.Lag = 20 * time.Millisecond }, "", false},
	}
	for name, tc := range tests {
		got := probe.Judge(even(200, w, tc.edit), w, slo)
		if got.Broken != tc.broken || got.Met != (tc.broken == "") || got.Valid != tc.valid || got.Offered != 100 {
			t.Errorf("%s: %+v, want broken %q valid %v", name, got, tc.broken, tc.valid)
		}
	}
}

// With an SLO as long as the step no tail shows an overload in time; the queue does.
func TestJudgeSeesAQueueGrowBeforeTheTailDoes(t *testing.T) {
	t.Parallel()
	patient := probe.SLO{Quantile: 0.95, Latency: 2 * time.Second, ErrorRatio: 0.01}
	w := probe.Window{End: 2 * time.Second}
	overloaded := even(200, w, func(i int, s *probe.Sample) { s.Latency += time.Duration(i) * 5 * time.Millisecond })
	if got := probe.Judge(overloaded, w, patient); got.Broken != probe.BrokenQueue {
		t.Errorf("an instance offered twice what it carries: %+v, want %q", got, probe.BrokenQueue)
	}
	if got := probe.Judge(even(200, w, nil), w, patient); !got.Met {
		t.Errorf("an instance at ease: %+v", got)
	}
}

// A machine that stands still for a while makes a queue, too, of which the generator's lag tells.
func TestJudgeTakesNoStandstillOfTheMachineForAQueue(t *testing.T) {
	t.Parallel()
	patient := probe.SLO{Quantile: 0.95, Latency: 10 * time.Second, ErrorRatio: 0.01}
	w := probe.Window{End: 2 * time.Second}
	for _, tc := range []struct {
		lag   time.Duration
		valid bool
	}{{700 * time.Millisecond, false}, {50 * time.Millisecond, true}} {
		// From the middle on nothing was sent, or answered, for 0.7 s.
		stands := even(200, w, func(_ int, s *probe.Sample) {
			if late := 1700*time.Millisecond - s.Due; s.Due >= time.Second && late > 0 {
				s.Latency, s.Lag = late+20*time.Millisecond, min(late, tc.lag)
			}
		})
		if got := probe.Judge(stands, w, patient); got.Broken != probe.BrokenQueue || got.Valid != tc.valid {
			t.Errorf("a generator behind by up to %v: %+v, want %q, valid %v", tc.lag, got, probe.BrokenQueue, tc.valid)
		}
	}
}

func TestJudgeLeavesOutWhatSettles(t *testing.T) {
	t.Parallel()
	w := probe.Window{Start: time.Second, End: 2 * time.Second}
	samples := even(100, w, nil)
	for i := range 50 {
		samples = append(samples, probe.Sample{Due: time.Duration(i) * time.Millisecond, Failed: true, Latency: time.Second})
	}
	if got := probe.Judge(samples, w, slo); !got.Met || got.Requests != 100 {
		t.Errorf("got %+v, want the settling requests left out", got)
	}
}

func TestNoRequestIsNotAGoodStep(t *testing.T) {
	t.Parallel()
	if got := probe.Judge(nil, probe.Window{End: time.Second}, slo); got.Met || got.Valid {
		t.Errorf("got %+v of nothing", got)
	}
	hung := probe.Judge(even(10, probe.Window{End: time.Second}, func(_ int, s *probe.Sample) { s.Unanswered = true }), probe.Window{End: time.Second}, slo)
	if hung.Met || !math.IsInf(hung.Latency, 1) || hung.Completed != 0 {
		t.Errorf("hung: %+v", hung)
	}
}
