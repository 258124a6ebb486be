package reference

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

func TestFormulasAgreeWithWhatIsPrinted(t *testing.T) {
	t.Parallel()
	// Erlang B tables: the traffic that 8 and 48 servers carry at 1 % loss.
	for c, a := range map[int]float64{8: 3.13, 48: 36.1} {
		if got := erlangB(c, a); math.Abs(got-0.01) > 3e-4 {
			t.Errorf("Erlang B of %d servers at %v erlang: %v, want 0.01", c, a, got)
		}
	}
	// One worker: the sojourn time is exponential with rate mu-lambda, whatever formula it comes from.
	if got, want := exceedMMc(1, 100, 80, 0.1), math.Exp(-2); math.Abs(got-want) > 1e-9 {
		t.Errorf("M/M/1: %v, want %v", got, want)
	}
	if got := exceedMMc(3, 100, 300, 0.1); got != 1 {
		t.Errorf("a queue that is not stable keeps %v within the time", 1-got)
	}
}

// The queue in virtual time is the formula's queue.
func TestTheQueueFollowsItsFormula(t *testing.T) {
	t.Parallel()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			slo := c.SLO
			rate := 0.97 * c.Law.Knee(slo)
			share := func(s probe.Step) float64 {
				if c.Law.Refuses {
					return s.ErrorRatio / slo.ErrorRatio
				}
				return s.ViolationRatio / (1 - slo.Quantile)
			}
			rng := rand.New(rand.NewPCG(9, 9))
			sum := [2]float64{}
			const times = 8
			for range times {
				for i, r := range []float64{rate, rate * 1.06} {
					s, _ := c.Law.Hold(rng, probe.Level{Rate: r, Settle: 5 * time.Second, Hold: 60 * time.Second}, slo)
					sum[i] += share(s) / times
				}
			}
			if sum[0] >= 1 || sum[1] <= 1 {
				t.Errorf("3 %% below the knee %.2f of what is forgiven is bad, 3 %% above it %.2f", sum[0], sum[1])
			}
		})
	}
}
