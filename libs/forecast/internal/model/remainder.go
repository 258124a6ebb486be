package model

import "math"

// remainder forecasts a series as a known pattern plus an autoregression on what the pattern leaves.
type remainder struct {
	data    *Data
	pattern func(i int) float64 // of any point, past or future
	mean    float64
	coef    []float64
	rest    []float64 // Y less pattern and mean
}

// newRemainder fits the autoregression to the points before end.
func newRemainder(d *Data, end, maxOrder int, pattern func(i int) float64) *remainder {
	r := &remainder{data: d, pattern: pattern}
	rest := make([]float64, end)
	for i := range rest {
		rest[i] = d.Y[i] - pattern(i)
		r.mean += rest[i]
	}
	r.mean /= math.Max(1, float64(end))
	for i := range rest {
		rest[i] -= r.mean
	}
	r.coef, r.rest = yuleWalker(rest, maxOrder), rest
	return r
}

func (r *remainder) Forecast(origin int, out []float64) {
	for i := len(r.rest); i < origin; i++ {
		r.rest = append(r.rest, r.data.Y[i]-r.pattern(i)-r.mean)
	}
	continueAR(r.coef, r.rest[:origin], out)
	for k := range out {
		out[k] += r.mean + r.pattern(origin+k)
	}
}

// continueAR writes what an autoregression expects after the values of past.
func continueAR(coef, past, out []float64) {
	n := len(past)
	for k := range out {
		out[k] = 0
		for i, c := range coef {
			switch at := k - 1 - i; {
			case at >= 0:
				out[k] += c * out[at]
			case n+at >= 0:
				out[k] += c * past[n+at]
			}
		}
	}
}
