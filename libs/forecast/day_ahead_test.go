package forecast_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// dayAheadKinds are kinds of hourly demand with quieter weekends, by what each day multiplies the usual one with.
func dayAheadKinds(rng *rand.Rand) map[string]func(day int) float64 {
	mood := 0.0
	return map[string]func(day int) float64{
		"only the week": func(int) float64 { return 1 },
		"days in a mood": func(int) float64 {
			mood = 0.9*mood + 0.1*rng.NormFloat64()
			return math.Exp(mood)
		},
		"promotions and growth": func(day int) float64 {
			v := 1 + float64(day)/100
			if day%13 == 4 {
				v *= 3
			}
			return v
		},
	}
}

// TestDayAhead: with six weeks of history a forecast of the next day is better than both yesterday and last week, and its
// quantile holds.
func TestDayAhead(t *testing.T) {
	t.Parallel()
	const from, n = 6 * 168, 8 * 168
	for _, name := range []string{"only the week", "days in a mood", "promotions and growth"} {
		rng := rand.New(rand.NewPCG(21, 22))
		factor := dayAheadKinds(rng)[name]
		values, f := make([]float64, n), 1.0
		for i := range values {
			if i%24 == 0 {
				f = factor(i / 24)
			}
			values[i] = f * (100 - 60*math.Cos(2*math.Pi*float64(i)/24)) * (1 + 0.05*rng.NormFloat64())
			if i/24%7 >= 5 {
				values[i] *= 0.6
			}
		}
		e := loaded(t, forecast.Config{Step: time.Hour, History: from, Horizon: 24, RefitEvery: n}, values[:from])
		var missed, yesterday, lastWeek, covered, scored float64
		for i := from; i+24 <= n; i++ {
			if i%7 == 0 {
				forecasted, err := e.Forecast(hour(i), 24)
				if err != nil {
					t.Fatal(name, err)
				}
				for k, m := range forecasted.Mean {
					y := values[i+k]
					missed += math.Abs(y - m)
					yesterday += math.Abs(y - values[i+k-24])
					lastWeek += math.Abs(y - values[i+k-168])
					scored++
					if y <= forecasted.Quantile(k, 0.95) {
						covered++
					}
				}
			}
			if err := e.Observe(hour(i), values[i]); err != nil {
				t.Fatal(name, err)
			}
		}
		ratio := missed / math.Min(yesterday, lastWeek)
		t.Logf("%-22s %.2f of the better simple method, %.2f of yesterday, %.3f covered", name, ratio, missed/yesterday, covered/scored)
		if ratio > 0.85 {
			t.Errorf("%s: %.2f times the error of the better of yesterday and last week, want at most 0.85", name, ratio)
		}
		if share := covered / scored; share < 0.9 || share > 0.995 {
			t.Errorf("%s: %.3f of the values lie under their 0.95 quantile", name, share)
		}
	}
}
