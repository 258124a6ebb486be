package model

import "math"

// ETS is exponential smoothing in the form that the history calls for (Hyndman, Koehler, Snyder, Grose 2002): without a season
// or with one of either period, additive or, as its logarithm, multiplicative, and each with or without a damped trend.
// The form with the least error some steps ahead is taken, not that with the least AIC: the error is what it is used for.
type ETS struct {
	Data  *Data
	Label string
}

func (m ETS) Name() string { return m.Label }

func (m ETS) Train(end int) Predictor {
	var best *holtWinters
	least := math.Inf(1)
	for _, form := range m.forms(end) {
		if p, loss := form.fit(end); best == nil || loss < least {
			best, least = p, loss
		}
	}
	return best
}

// forms are those that the points before end can tell apart.
func (m ETS) forms(end int) []HoltWinters {
	out := []HoltWinters{{Data: m.Data}}
	for _, period := range m.Data.Periods {
		if end < 3*period {
			continue
		}
		out = append(out, HoltWinters{Data: m.Data, Period: period})
		if m.Data.Positive {
			out = append(out, HoltWinters{Data: m.Data, Period: period, Log: true})
		}
	}
	return out
}
