package probe_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// A share of requests is late, in runs of the given length.
func runs(rng *rand.Rand, n, length int, share float64, w probe.Window) []probe.Sample {
	late := false
	return even(n, w, func(i int, s *probe.Sample) {
		if i%length == 0 {
			late = rng.Float64() < share
		}
		if late {
			s.Latency = time.Second
		}
	})
}

func TestClumpsAreSeen(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	w := probe.Window{End: 100 * time.Second}
	for _, length := range []int{1, 10, 50} {
		sum := 0.0
		const runsOf = 40
		for range runsOf {
			sum += probe.Judge(runs(rng, 20_000, length, 0.05, w), w, slo).ViolationClump / runsOf
		}
		// The measure is set a little high on purpose.
		if sum < float64(length) || sum > 2.5*float64(length) {
			t.Errorf("runs of %d seem to clump by %.1f", length, sum)
		}
	}
	for name, samples := range map[string][]probe.Sample{"too few": runs(rng, 100, 1, 0.3, w), "none late": even(20_000, w, nil)} {
		if got := probe.Judge(samples, w, slo).ViolationClump; got != 0 {
			t.Errorf("%s: clump %v, want it not known", name, got)
		}
	}
}

func TestLatencyHasAnInterval(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	w := probe.Window{End: 10 * time.Second}
	covered := 0
	want := -math.Log(0.05) * 0.02
	for range 100 {
		step := probe.Judge(even(2000, w, func(_ int, s *probe.Sample) {
			s.Latency = time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond))
		}), w, slo)
		if step.LatencyLower <= want && want <= step.LatencyUpper {
			covered++
		}
		if !(step.LatencyLower <= step.Latency && step.Latency <= step.LatencyUpper) {
			t.Fatalf("latency %v outside of [%v, %v]", step.Latency, step.LatencyLower, step.LatencyUpper)
		}
	}
	if covered < 90 {
		t.Errorf("the interval covers the true quantile in %d of 100 runs", covered)
	}
	if few := probe.Judge(even(20, w, nil), w, slo); !math.IsInf(few.LatencyUpper, 1) {
		t.Errorf("twenty requests bound the tail at %v", few.LatencyUpper)
	}
}

func TestConcurrencyIsLittlesLaw(t *testing.T) {
	t.Parallel()
	w := probe.Window{Start: time.Second, End: 11 * time.Second}
	if got := probe.Judge(even(1000, w, nil), w, slo).Concurrency; math.Abs(got-100*0.02) > 0.01 {
		t.Errorf("%v in flight at 100 requests/s of 20 ms", got)
	}
}
