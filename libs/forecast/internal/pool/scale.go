package pool

import (
	"math"
	"slices"
)

// How much of the expected error each sign accounts for.
const (
	byStep         = 0.2
	byDisagreement = 0.5
	byRestlessness = 0.3
)

// scaler says how large errors are to be expected for one forecast beside others: errors grow with the disagreement of the
// models and with how restless the series has just been. Paths are kept in units of it, so that a calm hour does not
// inherit the errors of a wild one. How much they grow is learnt: after a burst that came out of nowhere the next is no larger.
type scaler struct {
	step     []float64 // mean absolute error per step
	spread   []float64 // mean disagreement per step
	restless float64   // mean restlessness
	smallest float64
	power    float64 // by which errors grow with the signs of them, one of powers
}

// missed is how the pool missed from one origin of the backtest, and what could be seen of it beforehand.
type missed struct {
	path     []float64 // actual minus forecast per step
	spread   []float64 // disagreement per step
	restless float64
}

// newScaler learns from all origins.
func newScaler(all []missed, horizon int) *scaler {
	s := &scaler{step: make([]float64, horizon), spread: make([]float64, horizon)}
	for _, m := range all {
		for k := range m.path {
			s.step[k] += math.Abs(m.path[k])
			s.spread[k] += m.spread[k]
		}
		s.restless += m.restless
	}
	n := math.Max(1, float64(len(all)))
	s.restless /= n
	for k := range s.step {
		s.step[k] /= n
		s.spread[k] /= n
		s.smallest = math.Max(s.smallest, 1e-9*s.step[k])
	}
	s.smallest += 1e-300
	s.learnPower(all)
	return s
}

// powers are tried, the first unless another is better.
var powers = [...]float64{1, 0.75, 0.5, 0.25, 0}

// judgedAt are the levels whose quantiles the power is judged by: those that instances are held for.
var judgedAt = [...]float64{0.9, 0.95, 0.98}

// learnPower takes the power whose quantiles have the least pinball loss.
func (s *scaler) learnPower(all []missed) {
	least, best := math.Inf(1), powers[0]
	for _, s.power = range powers {
		loss := 0.0
		for k := range s.step {
			loss += s.loss(all, k)
		}
		if loss < least {
			least, best = loss, s.power
		}
	}
	s.power = best
}

// loss is the pinball loss at a step of the quantiles over all origins, in units of the step's mean error.
func (s *scaler) loss(all []missed, k int) float64 {
	if !(s.step[k] > 0) {
		return 0
	}
	scales, sorted := make([]float64, len(all)), make([]float64, len(all))
	for j, m := range all {
		scales[j] = s.at(k, m.spread[k], m.restless)
		sorted[j] = m.path[k] / scales[j]
	}
	slices.Sort(sorted)
	sum := 0.0
	for _, level := range judgedAt {
		q := quantile(sorted, level)
		for j, m := range all {
			above := m.path[k] - q*scales[j]
			sum += math.Max(level*above, (level-1)*above)
		}
	}
	return sum / s.step[k]
}

func quantile(sorted []float64, level float64) float64 {
	return sorted[min(len(sorted)-1, int(level*float64(len(sorted))))]
}

func (s *scaler) at(k int, spread, restless float64) float64 {
	k = min(k, len(s.step)-1)
	v := byStep + byDisagreement*ratio(spread, s.spread[k]) + byRestlessness*ratio(restless, s.restless)
	return math.Max(s.step[k]*math.Pow(v, s.power), s.smallest)
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
