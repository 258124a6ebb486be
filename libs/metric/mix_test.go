package metric_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/foreshadow/foreshadow/libs/metric"
)

func TestMixNoiseIsWhatTwoSamplesOfOneMixDifferBy(t *testing.T) {
	t.Parallel()
	shares := []float64{0.4, 0.3, 0.2, 0.1}
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func(n int) []float64 {
		got := make([]float64, len(shares))
		for range n {
			u, i := rng.Float64(), 0
			for ; i < len(shares)-1 && u >= shares[i]; i++ {
				u -= shares[i]
			}
			got[i] += 1 / float64(n)
		}
		return got
	}
	for _, n := range [][2]int{{100, 100}, {100, 5000}, {40, 300}} {
		const runs = 2000
		sum := 0.0
		for range runs {
			a, b := draw(n[0]), draw(n[1])
			for i := range a {
				sum += math.Abs(a[i]-b[i]) / 2
			}
		}
		want := sum / runs
		if got := metric.MixNoise(shares, float64(n[0]), float64(n[1])); math.Abs(got-want) > 0.05*want {
			t.Errorf("samples of %v: noise %v, they differ by %v", n, got, want)
		}
	}
	for name, got := range map[string]float64{
		"numbers not known": metric.MixNoise(shares, 0, -1), "one stratum": metric.MixNoise([]float64{1}, 10, 10), "no strata": metric.MixNoise(nil, 10, 10),
	} {
		if got != 0 {
			t.Errorf("%s: noise %v, want 0", name, got)
		}
	}
	if got := metric.MixNoise(shares, 1e-9, 0); got != 1 {
		t.Errorf("of next to no request: noise %v, want 1", got)
	}
}
