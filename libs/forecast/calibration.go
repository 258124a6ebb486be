package forecast

import (
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/pool"
)

const (
	maxPending  = 64   // forecasts kept to be scored
	stretchRate = 0.03 // how fast the spread follows missed or exaggerated coverage
	maxStretch  = 8
)

// issued is a forecast that waits for what really happened.
type issued struct {
	Start         int // history index of its first step
	Mean, Upper   []float64
	Reactive      float64
	ReactiveUpper []float64
}

// spread maps the error paths of the backtest to the given steps. Beyond the calibrated horizon the last
// step's errors are widened with the square root of time, as those of a random walk would be.
func (e *Engine) spread(base []float64, at []int) spread {
	horizon := len(at)
	errs := e.fit.pool.Errors()
	s := spread{scale: make([]float64, horizon), sorted: make([][]float64, horizon), floor: math.Inf(-1)}
	if e.fit.pool.Positive() {
		s.floor = 0
	}
	known := len(errs.Sorted)
	steps := make([]int, horizon)
	for k, at := range at {
		s.scale[k] = base[at] * e.stretch[min(at, known-1)]
		if at >= known {
			s.scale[k] *= math.Sqrt(float64(at+1) / float64(known))
		}
		steps[k] = min(at, known-1)
		s.sorted[k] = errs.Sorted[steps[k]]
		s.order = append(s.order, errs.Order[steps[k]])
	}
	s.weight = e.fit.pool.PathWeights()
	for _, w := range s.weight {
		s.total += w
	}
	s.paths, s.steps = errs.Paths, steps
	return s
}

// reactiveSpread is the sorted errors of repeating the last value, per step.
func reactiveSpread(errs pool.Errors) [][]float64 {
	out := make([][]float64, len(errs.Sorted))
	for _, s := range errs.Scores {
		out[s.Step] = append(out[s.Step], s.Actual-s.Reactive)
	}
	for _, o := range out {
		slices.Sort(o)
	}
	return out
}

// recalibrate starts the tracking for a new fit: the spread is fresh, so half of the learnt stretch is given back.
func (e *Engine) recalibrate() {
	errs := e.fit.pool.Errors()
	old := e.stretch
	e.stretch = make([]float64, len(errs.Sorted))
	for k := range e.stretch {
		e.stretch[k] = 1
		if k < len(old) {
			e.stretch[k] = math.Sqrt(old[k])
		}
	}
	if e.board.Weight > 0 {
		return
	}
	for _, s := range errs.Scores {
		q := s.Mean + s.Scale*quantileSorted(errs.Sorted[s.Step], trustLevel)
		e.board.add(outcome{s.Actual, s.Mean, q, s.Reactive, s.Reactive + quantileSorted(e.fit.reactive[s.Step], trustLevel)})
	}
}

// remember keeps a forecast for scoring; of many overlapping ones every few are enough.
func (e *Engine) remember(start int, f Forecast) {
	steps := min(len(f.Mean), len(e.stretch))
	if n := len(e.pending); n > 0 && start-e.pending[n-1].Start < 1+steps/maxPending {
		return
	}
	if len(e.pending) == maxPending {
		e.pending = slices.Delete(e.pending, 0, 1)
	}
	p := issued{Start: start, Mean: f.Mean[:steps:steps], Reactive: e.fit.pool.Last()}
	if v := e.hist.values[start-1]; !math.IsNaN(v) {
		p.Reactive = v // the pool's own may be cleared of an event
	}
	for k := range steps {
		p.Upper = append(p.Upper, f.Quantile(k, trustLevel))
		p.ReactiveUpper = append(p.ReactiveUpper, p.Reactive+quantileSorted(e.fit.reactive[k], trustLevel))
	}
	e.pending = append(e.pending, p)
}

// score compares the point at index with every forecast that covered it, and moves the stretch of that step: up by the
// share missed when the value was above the quantile, down a little otherwise, so that in the long run the promised share
// is covered whatever the demand does (adaptive conformal inference: Gibbs, Candes 2021; quantile tracking: Angelopoulos,
// Candes, Tibshirani 2023).
func (e *Engine) score(index int) {
	y := e.hist.values[index]
	if math.IsNaN(e.fit.known.point(e.hist.time(index), y)) {
		y = math.NaN() // a time that nothing is learnt from
	}
	keep := e.pending[:0]
	for _, p := range e.pending {
		k := index - p.Start
		if k < len(p.Mean)-1 {
			keep = append(keep, p)
		}
		if k < 0 || k >= len(p.Mean) || math.IsNaN(y) {
			continue
		}
		e.board.add(outcome{y, p.Mean[k], p.Upper[k], p.Reactive, p.ReactiveUpper[k]})
		if k >= len(e.stretch) {
			continue
		}
		step := -(1 - trustLevel)
		if y > p.Upper[k] {
			step = trustLevel
		}
		e.stretch[k] = min(max(e.stretch[k]*math.Exp(stretchRate*step), 1.0/maxStretch), maxStretch)
	}
	e.pending = keep
}

// Trust says how the engine's past forecasts fared.
func (e *Engine) Trust() Trust {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.board.trust()
}
