package probe_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

var slo = reference.SLO()

// search runs a plan to its end against something that holds a level.
func search(plan probe.Plan, hold func(probe.Level) probe.Step) *probe.Search {
	s := probe.NewSearch(plan)
	for {
		level, more := s.Next()
		if !more {
			return s
		}
		s.Record(hold(level))
	}
}

// A short measurement, as of one that is wanted soon, is less exact, and its interval says so.
func TestFewShortSteps(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		law        reference.Law
		step       time.Duration
		rms, worst float64
	}{
		"one worker, short steps":   {reference.Law{Workers: 1, Service: 15 * time.Millisecond}, 2 * time.Second, 0.09, 0.20},
		"four workers, short steps": {reference.Law{Workers: 4, Service: 50 * time.Millisecond}, 2 * time.Second, 0.09, 0.20},
		"one worker, long steps":    {reference.Law{Workers: 1, Service: 15 * time.Millisecond}, 10 * time.Second, 0.05, 0.12},
		"four workers, long steps":  {reference.Law{Workers: 4, Service: 50 * time.Millisecond}, 10 * time.Second, 0.05, 0.12},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := tc.law.Knee(slo)
			square, covered := 0.0, 0
			for seed := range uint64(seeds) {
				rng := rand.New(rand.NewPCG(seed, 1))
				plan := probe.Plan{
					SLO: slo, Start: want * (0.3 + 0.7*rng.Float64()), MaxRate: 1e4, Precision: 0.1, MaxSteps: 7,
					Settle: tc.step / 4, Hold: tc.step,
				}
				got, err := search(plan, func(l probe.Level) probe.Step { step, _ := tc.law.Hold(rng, l, slo); return step }).Knee()
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				off := got.Rate/want - 1
				square += off * off / seeds
				if math.Abs(off) > tc.worst {
					t.Errorf("seed %d: knee %.1f, want %.1f within %.0f %%", seed, got.Rate, want, tc.worst*100)
				}
				if got.Lower <= want && want <= got.Upper {
					covered++
				}
			}
			if rms := math.Sqrt(square); rms > tc.rms {
				t.Errorf("off by %.3f (root mean square), want at most %.3f", rms, tc.rms)
			}
			if covered < seeds*3/4 {
				t.Errorf("the interval covers the truth in %d of %d runs", covered, seeds)
			}
			t.Logf("true knee %.1f/s, rms error %.3f, interval covers %d of %d", want, math.Sqrt(square), covered, seeds)
		})
	}
}

// sharp carries everything up to limit at a flat latency and collapses above.
func sharp(limit float64, broken func(*probe.Step)) func(probe.Level) probe.Step {
	return func(l probe.Level) probe.Step {
		step := probe.Step{Offered: l.Rate, Completed: l.Rate, Requests: int(l.Rate * l.Hold.Seconds()), Latency: 0.02, Valid: true, Met: true}
		if l.Rate > limit {
			step.Met = false
			broken(&step)
		}
		return step
	}
}

func TestKneeOfSharpCurves(t *testing.T) {
	t.Parallel()
	collapses := map[string]func(*probe.Step){
		"latency":    func(s *probe.Step) { s.Broken, s.Latency, s.ViolationRatio = probe.BrokenLatency, 2, 0.6 },
		"errors":     func(s *probe.Step) { s.Broken, s.ErrorRatio, s.ViolationRatio = probe.BrokenErrors, 0.03, 0.03 },
		"throughput": func(s *probe.Step) { s.Broken, s.Completed = probe.BrokenThroughput, s.Offered/2 },
		"queue":      func(s *probe.Step) { s.Broken = probe.BrokenQueue },
	}
	for name, collapse := range collapses {
		for _, start := range []float64{1, 40, 70, 1000} {
			plan := probe.Plan{SLO: slo, Start: start, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second}
			got, err := search(plan, sharp(65, collapse)).Knee()
			if err != nil || math.Abs(got.Rate/65-1) > 0.08 || got.Lower > 65 || got.Upper < got.Rate {
				t.Errorf("%s from %v: knee %+v, %v, want 65 within 8 %%", name, start, got, err)
			}
		}
	}
}

func TestSearchEnds(t *testing.T) {
	t.Parallel()
	plan := probe.Plan{SLO: slo, Start: 50, MaxRate: 200, Precision: 0.05, MaxSteps: 12, Hold: time.Second}
	lag := func(l probe.Level) probe.Step {
		return probe.Step{Offered: l.Rate, Requests: 50, MaxLag: 0.4, Met: true, Valid: false}
	}
	slow := func(l probe.Level) probe.Step {
		return probe.Step{Offered: l.Rate, Requests: 50, Latency: 0.3, ViolationRatio: 1, Valid: true, Broken: probe.BrokenLatency}
	}
	hung := func(l probe.Level) probe.Step {
		return probe.Step{Offered: l.Rate, Requests: 50, Latency: math.Inf(1), ErrorRatio: 1, ViolationRatio: 1, Silent: true, Valid: true, Broken: probe.BrokenErrors}
	}
	tests := map[string]struct {
		hold   func(probe.Level) probe.Step
		reason string
		steps  int
	}{
		"the generator lags":    {lag, "load generator was the bottleneck: it lagged up to 400 ms", 3},
		"the instance is hung":  {hung, "down or hangs: in the end all requests failed at 50.00 requests/s, 100 % of 50", 1},
		"the instance is slow":  {slow, "no load level met the SLO: at 0.39 requests/s latency broke it", 8},
		"nothing was ever held": {func(probe.Level) probe.Step { return probe.Step{} }, "load generator", 3},
	}
	for name, tc := range tests {
		s := search(plan, tc.hold)
		knee, err := s.Knee()
		var invalid *probe.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, tc.reason) || knee != (probe.Knee{}) {
			t.Errorf("%s: %+v, %v, want %q", name, knee, err, tc.reason)
		}
		if len(s.Steps()) != tc.steps {
			t.Errorf("%s: %d steps, want %d", name, len(s.Steps()), tc.steps)
		}
	}
	if _, err := probe.NewSearch(plan).Knee(); err == nil {
		t.Error("a search without a step has a knee")
	}
	never := sharp(math.Inf(1), nil)
	got, err := search(plan, never).Knee()
	if want := (probe.Knee{Rate: 200, Lower: 200, Upper: 200, Precise: true}); err != nil || got != want {
		t.Errorf("nothing breaks it: %+v, %v, want the limit %+v", got, err, want)
	}
}

// A moment of the machine's makes one short level far below the knee look broken. What comes of it is the knee, or an interval that says
// that it is not known: never a wrong one.
func TestASpoiltLevelDoesNotHoldTheKneeDown(t *testing.T) {
	t.Parallel()
	law := reference.Cases()[0].Law
	want := law.Knee(slo)
	for seed := range uint64(5) {
		rng, spoilt := rand.New(rand.NewPCG(seed, 9)), false
		plan := probe.Plan{SLO: slo, Start: 0.6 * want, MaxRate: 1e4, Precision: 0.05, MaxSteps: 40, Settle: time.Second, Hold: 10 * time.Second}
		got, err := search(plan, func(l probe.Level) probe.Step {
			step, _ := law.Hold(rng, l, slo)
			if !spoilt {
				spoilt = true
				step.Met, step.Broken, step.ViolationRatio, step.Requests = false, probe.BrokenLatency, 0.09, 150
			}
			return step
		}).Knee()
		if err != nil || got.Precise && math.Abs(got.Rate/want-1) > 0.05 || want < got.Lower || got.Upper < want {
			t.Errorf("seed %d: knee %+v, %v, want %.1f", seed, got, err, want)
		}
	}
}

// A search that ends before anything broke the SLO knows a bound from below, and that there is more to be found.
func TestABoundFromBelowIsNotPrecise(t *testing.T) {
	t.Parallel()
	plan := probe.Plan{SLO: slo, Start: 1, MaxRate: 1e4, Precision: 0.05, MaxSteps: 3, Hold: 10 * time.Second}
	got, err := search(plan, sharp(math.Inf(1), nil)).Knee()
	if want := (probe.Knee{Rate: 4, Lower: 4, Upper: 4}); err != nil || got != want {
		t.Errorf("after three levels of ten thousand: %+v, %v, want %+v", got, err, want)
	}
}

// An instance that breaks its SLO long before it is used up is put under more than a little too much, so that it shows its limit.
func TestTheLastLevelShowsTheLimit(t *testing.T) {
	t.Parallel()
	const limit, top = 65, 1.6 * 65
	plan := probe.Plan{SLO: slo, Start: 1.55 * limit, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second}
	s := search(plan, sharp(limit, func(s *probe.Step) {
		s.Broken, s.Latency, s.ViolationRatio, s.Completed = probe.BrokenLatency, 2, 0.6, min(s.Offered, top)
		s.Resources.CPUCores = 0.1
	}))
	knee, err := s.Knee()
	if got := probe.Bottleneck(s.Steps(), knee.Rate, probe.Limits{CPUCores: 2}); err != nil || got != probe.Concurrency {
		t.Errorf("knee %+v, %v, bottleneck %v, want %v", knee, err, got, probe.Concurrency)
	}
}

func TestALagWithinASearchIsLeftOut(t *testing.T) {
	t.Parallel()
	count := 0
	inner := sharp(65, func(s *probe.Step) { s.Broken, s.Latency, s.ViolationRatio = probe.BrokenLatency, 2, 0.6 })
	s := search(probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 12, Hold: 10 * time.Second}, func(l probe.Level) probe.Step {
		if count++; count == 2 {
			return probe.Step{Offered: l.Rate, Requests: 10, MaxLag: 1}
		}
		return inner(l)
	})
	if got, err := s.Knee(); err != nil || math.Abs(got.Rate/65-1) > 0.08 {
		t.Errorf("knee %+v, %v, want 65", got, err)
	}
}

func TestASlowLevelIsHeldLonger(t *testing.T) {
	t.Parallel()
	plan := probe.Plan{SLO: slo, Start: 5, MaxRate: 100, Precision: 0.05, MaxSteps: 7, Hold: 2 * time.Second}
	if level, _ := probe.NewSearch(plan).Next(); level.Hold != 4*time.Second {
		t.Errorf("hold %v at 5 requests/s, want 4s for 20 requests", level.Hold)
	}
}

// hangsAfter carries limit until it has held so many levels, and then answers nothing any more.
func hangsAfter(levels int, limit float64) func(probe.Level) probe.Step {
	inner := sharp(limit, func(s *probe.Step) { s.Broken, s.Latency, s.ViolationRatio = probe.BrokenLatency, 2, 0.6 })
	return func(l probe.Level) probe.Step {
		if levels--; levels >= 0 {
			return inner(l)
		}
		step := inner(l)
		step.Met, step.Broken, step.ErrorRatio, step.ViolationRatio, step.Silent = false, probe.BrokenErrors, 0.4, 0.4, true
		return step
	}
}

// Whenever an instance hangs, even in the middle of the last level, what comes out is no knee.
func TestAHangIsNeverAKnee(t *testing.T) {
	t.Parallel()
	for levels := range 12 {
		plan := probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 12, Hold: 10 * time.Second}
		s := search(plan, hangsAfter(levels, 65))
		knee, err := s.Knee()
		var invalid *probe.InvalidError
		if !errors.As(err, &invalid) || knee != (probe.Knee{}) {
			t.Errorf("hung after %d levels: %+v, %v", levels, knee, err)
		}
	}
}

// An instance that refuses everything while it is flooded, and is well again after, is alive.
func TestAFloodIsNoHang(t *testing.T) {
	t.Parallel()
	flooded := sharp(65, func(s *probe.Step) {
		s.Broken, s.ErrorRatio, s.ViolationRatio, s.Silent = probe.BrokenErrors, 1, 1, true
	})
	for _, start := range []float64{20, 50, 64} {
		plan := probe.Plan{SLO: slo, Start: start, MaxRate: 1e4, Precision: 0.05, MaxSteps: 30, Hold: 10 * time.Second}
		if got, err := search(plan, flooded).Knee(); err != nil || math.Abs(got.Rate/65-1) > 0.05 {
			t.Errorf("from %v: knee %+v, %v, want 65", start, got, err)
		}
	}
}

func TestASearchGoesOnFromWhatIsKnown(t *testing.T) {
	t.Parallel()
	hold := sharp(65, func(s *probe.Step) { s.Broken, s.Latency, s.ViolationRatio = probe.BrokenLatency, 2, 0.6 })
	plan := probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.02, MaxSteps: 5, Hold: 10 * time.Second}
	first := search(plan, hold)
	one, err := first.Knee()
	if err != nil || one.Precise {
		t.Fatalf("after five levels: %+v, %v", one, err)
	}
	plan.Before = first.Steps()
	second := search(plan, hold)
	two, err := second.Knee()
	if err != nil || two.Upper-two.Lower >= one.Upper-one.Lower || len(second.Steps()) != 10 {
		t.Errorf("after ten levels: %+v, %v; after five %+v", two, err, one)
	}
}
