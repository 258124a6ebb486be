package forecast_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// A habitat is a kind of demand that the models were not chosen on: hourly, eight weeks.
type habitat struct {
	at    func(i int, rng *rand.Rand) float64
	bound float64 // how much worse than the better of last value and yesterday it may be forecast
}

// habitats are seeded, so that every run sees the same.
func habitats() map[string]habitat {
	day := func(i int) float64 { return 200 - 120*math.Cos(2*math.Pi*float64(i)/24) }
	week := func(i int) float64 {
		if i/24%7 >= 5 {
			return 0.5 * day(i)
		}
		return day(i)
	}
	walk := 100.0
	return map[string]habitat{
		"white noise": {func(_ int, rng *rand.Rand) float64 { return 100 + 20*rng.NormFloat64() }, 0.8},
		"random walk": {func(_ int, rng *rand.Rand) float64 { walk += rng.NormFloat64(); return math.Max(walk, 0) }, 1.05},
		"a noisy day": {func(i int, rng *rand.Rand) float64 { return day(i) + 10*rng.NormFloat64() }, 0.8},
		"a week":      {func(i int, rng *rand.Rand) float64 { return week(i) * (1 + 0.05*rng.NormFloat64()) }, 0.6},
		"a trend":     {func(i int, rng *rand.Rand) float64 { return day(i)*(1+float64(i)/1000) + 5*rng.NormFloat64() }, 0.9},
		"a level that shifts": {func(i int, rng *rand.Rand) float64 {
			return day(i)*[]float64{1, 2, 0.7, 1.6}[i/350%4] + 5*rng.NormFloat64()
		}, 1.05},
		"flash crowds": {func(i int, rng *rand.Rand) float64 {
			v := day(i) + 5*rng.NormFloat64()
			if i%131 < 3 {
				v *= 6
			}
			return v
		}, 1.05},
		"intermittent": {func(_ int, rng *rand.Rand) float64 {
			if rng.IntN(6) > 0 {
				return 0
			}
			return 20 * rng.ExpFloat64()
		}, 1.05},
		"two odd cycles": {func(i int, rng *rand.Rand) float64 {
			return 100 + 40*math.Sin(2*math.Pi*float64(i)/17) + 30*math.Sin(2*math.Pi*float64(i)/61) + 5*rng.NormFloat64()
		}, 0.5},
		"counts": {func(i int, rng *rand.Rand) float64 { return math.Round(day(i) / 50 * rng.ExpFloat64()) }, 1},
	}
}

// TestUnseenKindsOfDemand: the pool is never much worse than what needs no model, and its quantile holds, on kinds of demand
// it was not chosen on.
func TestUnseenKindsOfDemand(t *testing.T) {
	t.Parallel()
	const n, horizon = 24 * 7 * 8, 6
	for name, h := range habitats() {
		rng := rand.New(rand.NewPCG(11, 12))
		values := make([]float64, n)
		for i := range values {
			values[i] = h.at(i, rng)
		}
		const from = n * 3 / 4
		cfg := forecast.Config{Step: time.Hour, History: from, Horizon: horizon, RefitEvery: 170}
		e := loaded(t, cfg, values[:from])
		var missed, last, yesterday, covered, scored float64
		for i := from; i+horizon <= n; i++ {
			if i%5 == 0 { // every hour of the day in turn
				f, err := e.Forecast(hour(i), horizon)
				if err != nil {
					t.Fatal(name, err)
				}
				for k, m := range f.Mean {
					y := values[i+k]
					missed += math.Abs(y - m)
					last += math.Abs(y - values[i-1])
					yesterday += math.Abs(y - values[i+k-24])
					scored++
					if y <= f.Quantile(k, 0.95) {
						covered++
					}
				}
			}
			if err := e.Observe(hour(i), values[i]); err != nil {
				t.Fatal(name, err)
			}
			if e.NeedsRefit() {
				if err := e.Refit(); err != nil {
					t.Fatal(name, err)
				}
			}
		}
		ratio := missed / math.Min(last, yesterday)
		t.Logf("%-20s %.2f of the better simple method, %.3f covered", name, ratio, covered/scored)
		if ratio > h.bound {
			t.Errorf("%s: %.2f times the error of the better simple method, want at most %.2f", name, ratio, h.bound)
		}
		if share := covered / scored; share < 0.9 || share > 0.995 {
			t.Errorf("%s: %.3f of the values lie under their 0.95 quantile", name, share)
		}
	}
}
