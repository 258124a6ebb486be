package pool

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// missedBy are origins whose errors grow with a power of the disagreement that could be seen beforehand.
func missedBy(power float64) []missed {
	rng := rand.New(rand.NewPCG(3, 4))
	all := make([]missed, 400)
	for j := range all {
		spread := math.Exp(rng.NormFloat64())
		all[j] = missed{path: []float64{math.Pow(spread, power) * rng.NormFloat64()}, spread: []float64{spread}, restless: spread}
	}
	return all
}

func TestScaleGrowsAsErrorsDo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ power, least, most float64 }{{0, 0, 0.25}, {0.5, 0.25, 0.75}, {1, 1, 1}} {
		if got := newScaler(missedBy(tc.power), 1).power; got < tc.least || got > tc.most {
			t.Errorf("errors grow with the power %v of their signs, learnt was %v", tc.power, got)
		}
	}
}

// A burst that came out of nowhere says nothing of how high the next will be.
func TestBurstsDoNotRaiseEachOther(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	values := make([]float64, 3000)
	for i := range values {
		if values[i] = 2 + rng.Float64(); rng.Float64() < 0.06 {
			values[i] += 10 * math.Exp(rng.NormFloat64())
		}
	}
	values[len(values)-1] = slices.Max(values)
	p, err := Fit(values, Options{Horizon: 12})
	if err != nil {
		t.Fatal(err)
	}
	_, scale := p.Forecast(12)
	for k, v := range scale {
		if usual := p.scaler.step[k]; v > 1.5*usual {
			t.Errorf("errors of %.2f are expected %d steps after a burst, and %.2f at any time", v, k+1, usual)
		}
	}
}
