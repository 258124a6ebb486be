package pool

import (
	"math"
	"slices"
)

// bounds are what a model may say at all: twice the range ever seen, beyond either end of it. An explosive model is cut off
// there instead of taking the pool with it.
type bounds struct{ low, high float64 }

func boundsOf(y []float64) bounds {
	low, high := slices.Min(y), slices.Max(y)
	return bounds{low: low - 2*(high-low), high: high + 2*(high-low)}
}

// enforce clips forecasts; what is no number at all becomes the last value.
func (b bounds) enforce(forecast []float64, last float64) {
	for k, v := range forecast {
		if math.IsNaN(v) {
			v = last
		}
		forecast[k] = min(max(v, b.low), b.high)
	}
}
