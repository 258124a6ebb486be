package scaling

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestShift(t *testing.T) {
	t.Parallel()
	m := manner{rise: 0.5, calm: 0.1}
	for surprise, want := range map[float64]float64{10: 5, -10: -1, 0: 0, math.Inf(1): 0, math.Inf(-1): 0} {
		if got := m.shift(surprise); got != want {
			t.Errorf("surprise %g: %g, want %g", surprise, got, want)
		}
	}
	if got := m.shift(math.NaN()); got != 0 {
		t.Errorf("no surprise moves by %g", got)
	}
}

func TestSurprisesThatPassAreDiscounted(t *testing.T) {
	t.Parallel()
	const noise = 0.2 // anew every minute; an instance takes two to start
	middle := wave(0)
	trial := trial{budget: 1, demand: wave(noise), forecast: spread(noise, 1), earned: true, expected: middle}
	if got := trial.play(); got.discounted < got.ticks/4 {
		t.Errorf("surprises that were over before an instance could start were discounted in %d of %d decisions", got.discounted, got.ticks)
	}
	trial.expected = trial.demand
	if got := trial.play(); got.discounted > 0 {
		t.Error("a discount where nothing was surprising")
	}
}

func TestSurprisesThatLastAreCountedOn(t *testing.T) {
	t.Parallel()
	// Plateaus at random heights, of which the forecast knows the mean only: a surprise is the best there is to go by.
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]float64, trialTicks)
	for t := range values {
		if t%240 == 0 {
			values[t] = 1000 + 2000*r.Float64()
		} else {
			values[t] = values[t-1]
		}
	}
	flat := func(int) []Quantile { return []Quantile{{0.05, 1100}, {0.5, 2000}, {0.95, 2900}, {0.995, 2990}} }
	got := trial{budget: 1, demand: func(t int) float64 { return values[t] }, forecast: flat, earned: true, expected: func(int) float64 { return 2000 }}.play()
	if got.discounted > 0 {
		t.Errorf("%d surprises that lasted were discounted", got.discounted)
	}
}
