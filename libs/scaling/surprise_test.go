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

func TestWhatPassesIsOrderedForInTheFirstMannerOnly(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.MaxInstances, c.UpStep = 100, 0
	for name, tc := range map[string]struct {
		now               int // instances that demand takes
		lead, arrival     float64
		current           int
		first, second     int
		firstly, secondly Code
	}{
		"a peak of now":             {20, 900, 500, 10, 20, 10, DemandAboveCommitted, TooLateToHelp},
		"a peak that is foreseen":   {5, 2000, 500, 10, 20, 10, ForecastAboveCommitted, TooLateToHelp},
		"one that lasts":            {20, 2500, 2400, 10, 25, 24, ForecastAboveCommitted, ArrivalAboveCommitted},
		"one that is there for now": {20, 900, 500, 20, 20, 20, "", ""},
		"nothing is lost before":    {5, 1500, 500, 20, 15, 15, "", ""},
	} {
		for i, want := range []struct {
			n   int
			why Code
		}{{tc.first, tc.firstly}, {tc.second, tc.secondly}} {
			d := new(decider)
			d.out.Evidence.CapacityUsed = 100
			w := d.foresee(tc.now, foreseen{lead: tc.lead, arrival: tc.arrival, hold: tc.lead}, i)
			got, why := next(c, tc.current, w, w.needed)
			if why == "" {
				why = w.why
			}
			if got != want.n || want.why != "" && why != want.why {
				t.Errorf("%s, in manner %d: %d instances for %s, want %d for %s", name, i, got, why, want.n, want.why)
			}
		}
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

func TestPeaksThatPassAreLeftOut(t *testing.T) {
	t.Parallel()
	const noise = 0.5
	demand, usual := wave(noise), spread(noise, 1)
	// What the running minute brings is known; that another one will is not.
	near := func(t int) []Quantile {
		q := usual(t)
		for i := range q {
			q[i].PerSecond = math.Max(q[i].PerSecond, demand(t))
		}
		return q
	}
	p := trial{budget: 1, demand: demand, forecast: near, earned: true}
	before := p.play()
	p.arrival = usual
	after := p.play()
	if after.violated > 0.9*before.violated || after.acted > before.acted/2 || after.spent > 1.02*before.spent {
		t.Errorf("%.4g requests violated with %d actions for %.4g, before %.4g with %d for %.4g", after.violated, after.acted, after.spent, before.violated, before.acted, before.spent)
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
