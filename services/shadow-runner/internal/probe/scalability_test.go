package probe_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

func TestScalabilityOfAKnownLaw(t *testing.T) {
	t.Parallel()
	tests := map[string]probe.Scalability{
		"contention":                {Rate: 40, Contention: 0.1},
		"contention and coherency":  {Rate: 40, Contention: 0.05, Coherency: 0.002},
		"coherency":                 {Rate: 10, Coherency: 0.01},
		"neither: N times the rate": {Rate: 25},
	}
	for name, law := range tests {
		rng := rand.New(rand.NewPCG(3, 3))
		var steps []probe.Step
		for _, n := range []float64{1, 2, 3, 5, 8, 13, 21, 34} {
			steps = append(steps, probe.Step{Valid: true, Concurrency: n, Completed: law.At(n) * (1 + 0.01*rng.NormFloat64())})
		}
		steps = append(steps, probe.Step{Concurrency: 5, Completed: 9999}) // not valid
		got, ok := probe.FitScalability(steps)
		if !ok || math.Abs(got.Rate/law.Rate-1) > 0.05 || math.Abs(got.Contention-law.Contention) > 0.01 || math.Abs(got.Coherency-law.Coherency) > 0.001 || got.Fit < 0.98 {
			t.Errorf("%s: fitted %+v, %v, want %+v", name, got, ok, law)
		}
		if peak := math.Sqrt((1 - law.Contention) / law.Coherency); law.Coherency > 0 && (math.Abs(got.Peak/peak-1) > 0.1 || got.PeakRate < law.At(peak)*0.95) {
			t.Errorf("%s: peak %.1f at %.1f, want %.1f", name, got.PeakRate, got.Peak, peak)
		}
	}
}

// One worker completes mu*N/(1+N) with N in flight: the law with half of its rate and a contention of a half.
func TestScalabilityOfAQueue(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	one := reference.Law{Workers: 1, Service: 10 * time.Millisecond, Random: true}
	var steps []probe.Step
	for _, rate := range []float64{20, 40, 60, 75, 85} {
		step, _ := one.Hold(rng, probe.Level{Rate: rate, Settle: 5 * time.Second, Hold: 200 * time.Second}, slo)
		steps = append(steps, step)
	}
	got, ok := probe.FitScalability(steps)
	if !ok || math.Abs(got.Rate/50-1) > 0.1 || math.Abs(got.Contention/0.5-1) > 0.1 {
		t.Errorf("fitted %+v, %v, want a rate of 50 and a contention of 0.5", got, ok)
	}
}

func TestNoScalabilityOfTooLittle(t *testing.T) {
	t.Parallel()
	alike := make([]probe.Step, 8)
	for i := range alike {
		alike[i] = probe.Step{Valid: true, Concurrency: 2 + 0.01*float64(i), Completed: 50}
	}
	for name, steps := range map[string][]probe.Step{
		"nothing": nil, "alike": alike, "idle": {{Valid: true}, {Valid: true}, {Valid: true}, {Valid: true}},
		"all failed": {{Valid: true, Concurrency: 1, Completed: 5, ErrorRatio: 1}, {Valid: true, Concurrency: 2, Completed: 5, ErrorRatio: 1}},
	} {
		if got, ok := probe.FitScalability(steps); ok {
			t.Errorf("%s: fitted %+v", name, got)
		}
	}
}
