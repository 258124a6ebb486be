package pool

import "math"

// How much of the expected error each sign accounts for.
const (
	byStep         = 0.2
	byDisagreement = 0.5
	byRestlessness = 0.3
)

// scaler says how large errors are to be expected for one forecast beside others: errors grow with the disagreement of the
// models and with how restless the series has just been. Paths are kept in units of it, so that a calm hour does not
// inherit the errors of a wild one.
type scaler struct {
	step     []float64 // mean absolute error per step
	spread   []float64 // mean disagreement per step
	restless float64   // mean restlessness
	smallest float64
}

func (s *scaler) at(k int, spread, restless float64) float64 {
	k = min(k, len(s.step)-1)
	v := byStep + byDisagreement*ratio(spread, s.spread[k]) + byRestlessness*ratio(restless, s.restless)
	return math.Max(s.step[k]*v, s.smallest)
}

func ratio(v, typical float64) float64 {
	if !(typical > 0) {
		return 1
	}
	return math.Min(v/typical, 10)
}

// disagreement is the weighted mean distance of the models from their pool.
func disagreement(w, column []float64, mean float64) float64 {
	sum := 0.0
	for i, v := range column {
		if w[i] > 0 {
			sum += w[i] * math.Abs(v-mean)
		}
	}
	return sum
}

// restlessness is a mean of the latest absolute changes.
func restlessness(y []float64, origin int) float64 {
	const latest = 12
	sum, weight := 0.0, 0.0
	for i := max(1, origin-latest); i < origin; i++ {
		sum += math.Abs(y[i] - y[i-1])
		weight++
	}
	if weight == 0 {
		return 0
	}
	return sum / weight
}
