package probe_test

import (
	"math"
	"sync/atomic"
	"testing"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

const (
	seeds = 20
	// kneeSeeds are more, for how often an interval covers the truth cannot be told from a few.
	kneeSeeds = 3 * seeds
)

// The measurement goes on until its interval is narrower than 5 %, in sessions of a few steps like the runner's. The knee is
// right, the interval is honest, and what runs out is named.
func TestKneeOfKnownLaws(t *testing.T) {
	t.Parallel()
	var covered, runs atomic.Int64
	t.Cleanup(func() {
		if share := float64(covered.Load()) / float64(runs.Load()); share < 0.93 {
			t.Errorf("the interval covers the truth in %.1f %% of %d runs", share*100, runs.Load())
		}
	})
	for _, c := range reference.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			want := c.Law.Knee(slo)
			near, inside, square, steps := 0, 0, 0.0, 0
			for seed := range uint64(kneeSeeds) {
				got, all, err := c.Measure(seed, want)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if got.Upper-got.Lower > 0.05*got.Rate {
					t.Errorf("seed %d: interval [%.1f, %.1f] is not narrower than 5 %%", seed, got.Lower, got.Upper)
				}
				steps += len(all)
				off := got.Rate/want - 1
				square += off * off / kneeSeeds
				if math.Abs(off) <= 0.05 {
					near++
				}
				if got.Lower <= want && want <= got.Upper {
					inside++
				}
				if resource := probe.Bottleneck(all, got.Rate, c.Limits); resource != c.Bottleneck {
					t.Errorf("seed %d: bottleneck %v, want %v", seed, resource, c.Bottleneck)
				}
			}
			covered.Add(int64(inside))
			runs.Add(kneeSeeds)
			t.Logf("knee %.1f/s: %d of %d within 5 %%, off by %.4f (root mean square), %d steps each, interval covers %d", want, near, kneeSeeds, math.Sqrt(square), steps/kneeSeeds, inside)
			if near < kneeSeeds*19/20 {
				t.Errorf("%d of %d within 5 %%", near, kneeSeeds)
			}
		})
	}
}
