package backtest

import (
	"math"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// scoredHorizon is how many steps ahead the forecast's error is reported.
const scoredHorizon = 24

// scoredLevels are the quantiles whose calibration is reported.
var scoredLevels = [...]float64{0.5, 0.8, 0.9, 0.95, 0.99}

// quality scores forecasts by how far ahead they looked.
type quality [scoredHorizon]struct {
	N                 int
	Err, Naive, Scale float64
	Below             [len(scoredLevels)]int
}

// add scores a forecast whose first step is values[start].
func (q *quality) add(values []float64, start int, f forecast.Forecast) {
	if start == 0 {
		return
	}
	last := values[start-1]
	for k := 0; k < min(scoredHorizon, f.Horizon()) && start+k < len(values); k++ {
		y := values[start+k]
		if math.IsNaN(y) || math.IsNaN(last) {
			continue
		}
		s := &q[k]
		s.N++
		s.Err += math.Abs(y - f.Mean[k])
		s.Naive += math.Abs(y - last)
		s.Scale += math.Abs(y)
		for i, level := range scoredLevels {
			if y <= f.Quantile(k, level) {
				s.Below[i]++
			}
		}
	}
}

// HorizonError is the forecast's error some steps ahead, over all forecasts of the scored time.
type HorizonError struct {
	Steps    int     `json:"steps"`
	Minutes  float64 `json:"minutes"`
	Relative float64 `json:"relative_error"`       // mean absolute error over mean demand
	Naive    float64 `json:"naive_relative_error"` // the same of repeating the last value
	Coverage []Cover `json:"coverage"`
}

// Cover is how often the demand stayed below a quantile.
type Cover struct {
	Level    float64 `json:"level"`
	Observed float64 `json:"observed"`
}

func (q *quality) report(minutes float64) []HorizonError {
	var out []HorizonError
	for k, s := range q {
		if s.N == 0 || s.Scale == 0 {
			continue
		}
		h := HorizonError{Steps: k + 1, Minutes: float64(k+1) * minutes, Relative: s.Err / s.Scale, Naive: s.Naive / s.Scale}
		for i, level := range scoredLevels {
			h.Coverage = append(h.Coverage, Cover{level, float64(s.Below[i]) / float64(s.N)})
		}
		out = append(out, h)
	}
	return out
}
