package probe_test

import (
	"math"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// held is a level of 10 s with a share of bad requests.
func held(rate, bad float64) probe.Step {
	s := probe.Step{Offered: rate, Completed: rate, Requests: int(10 * rate), Latency: 0.02, Valid: true, Met: true, Alive: true}
	if bad > 0 {
		s.Met, s.Broken, s.Latency, s.ViolationRatio = false, probe.BrokenLatency, 2, bad
	}
	return s
}

func TestWhatAnInstanceIsLostOf(t *testing.T) {
	t.Parallel()
	hung, invalid := held(20, 1), held(80, 1)
	hung.ErrorRatio, hung.Silent, hung.Alive = 1, true, false
	invalid.Valid = false
	flooded := hung
	flooded.Alive = true
	few := held(80, 0.5)
	few.Requests = 4
	tests := map[string]struct {
		before []probe.Step
		step   probe.Step // during which it went away
		after  time.Duration
		lostOf float64 // the rate that is blamed; 0 for none
	}{
		"too much":                           {[]probe.Step{held(40, 0)}, held(80, 0.9), time.Second, 80},
		"too much at first":                  {nil, held(80, 0.9), time.Second, 80},
		"flooded at first":                   {nil, flooded, time.Second, 20},
		"answered well":                      {[]probe.Step{held(40, 0)}, held(80, 0), time.Second, 0},
		"hung from the start":                {nil, hung, time.Second, 0},
		"carried before":                     {[]probe.Step{held(40, 0)}, held(35, 0.9), time.Second, 0},
		"nothing was held":                   {[]probe.Step{held(40, 0)}, probe.Step{}, time.Second, 0},
		"two bad requests":                   {[]probe.Step{held(40, 0)}, few, time.Second, 0},
		"the generator lagged":               {[]probe.Step{held(40, 0)}, invalid, time.Second, 0},
		"of the level before":                {[]probe.Step{held(40, 0), held(80, 0.9)}, held(56, 0.8), 5 * time.Second, 80},
		"of the level before, at ease since": {[]probe.Step{held(40, 0), held(80, 0.9)}, held(36, 0), 5 * time.Second, 80},
		"long after the level before":        {[]probe.Step{held(40, 0), held(80, 0.9)}, held(36, 0), time.Minute, 0},
		"of more than the level before":      {[]probe.Step{held(40, 0), held(48, 0.1)}, held(80, 0.9), 5 * time.Second, 80},
	}
	for name, tc := range tests {
		s := probe.NewSearch(probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
		for _, b := range tc.before {
			s.Record(b)
		}
		if got := s.Lost(tc.step, tc.after); got != (tc.lostOf > 0) {
			t.Errorf("%s: lost of the load: %v", name, got)
		}
		for _, step := range s.Steps() {
			if (step.Broken == probe.BrokenLost) != (tc.lostOf > 0 && step.Offered == tc.lostOf) {
				t.Errorf("%s: %.0f requests/s: %q", name, step.Offered, step.Broken)
			}
		}
		if level, more := s.Next(); tc.lostOf > 0 && (!more || level.Rate > 0.9*tc.lostOf) {
			t.Errorf("%s: then %.1f requests/s, %v", name, level.Rate, more)
		}
	}
}

// An instance that goes away above a rate, whatever the search then does, is lost of few levels, each clearly below the one before.
func TestAKneeBelowWhatKills(t *testing.T) {
	t.Parallel()
	const knee = 65
	for _, start := range []float64{5, 40, 64, 70, 100, 900} {
		for _, kills := range []float64{knee, 1.2 * knee, 1.9 * knee} {
			s := probe.NewSearch(probe.Plan{SLO: slo, Start: start, MaxRate: 1e4, Precision: 0.05, MaxSteps: 24, Hold: 10 * time.Second})
			lost, ceiling := 0, math.Inf(1)
			for level, more := s.Next(); more; level, more = s.Next() {
				if level.Rate > ceiling {
					t.Errorf("from %v: %.1f requests/s after an instance was lost of %.1f", start, level.Rate, ceiling/0.9)
				}
				switch {
				case level.Rate <= knee:
					s.Record(held(level.Rate, 0.001))
					last := &s.Steps()[len(s.Steps())-1]
					last.Met, last.Broken, last.Latency = true, "", 0.02
				case level.Rate < kills:
					s.Record(held(level.Rate, 0.6))
				case s.Lost(held(level.Rate, 0.9), 2*time.Second):
					lost++
					for _, step := range s.Steps() {
						if step.Broken == probe.BrokenLost {
							ceiling = min(ceiling, 0.9*step.Offered)
						}
					}
				default:
					t.Errorf("from %v: %.1f requests/s are not blamed", start, level.Rate)
				}
			}
			got, err := s.Knee()
			if lost > 3 || err != nil || math.Abs(got.Rate/knee-1) > 0.25 {
				t.Errorf("from %v, lost above %.0f: %d lost, knee %+v, %v", start, kills, lost, got, err)
			}
		}
	}
}
