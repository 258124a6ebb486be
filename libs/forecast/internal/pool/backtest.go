package pool

import (
	"cmp"
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/model"
)

const (
	maxOrigins = 400   // enough for a 0.99 quantile
	maxValues  = 12000 // origins times steps, so that a long horizon does not cost memory without end
	folds      = 4     // how often models are trained again on the way
)

// backtest forecasts from many origins inside the history, never with knowledge of what followed.
type backtest struct {
	data    *model.Data
	horizon int
	origins []int
	ends    []int         // training ends, one per fold; a fold runs to the next end
	made    [][][]float64 // [model][origin][step]
	bounds  bounds
}

func newBacktest(d *model.Data, horizon int) *backtest {
	n := len(d.Y)
	b := &backtest{data: d, bounds: boundsOf(d.Y), horizon: max(1, min(horizon, n/4))}
	first := max(2*n/5, 2)
	last := n - b.horizon
	count := min(maxOrigins, max(40, maxValues/b.horizon))
	stride := max(1, (last-first+count)/count)
	for o := last; o >= first; o -= stride {
		b.origins = append(b.origins, o)
	}
	slices.Reverse(b.origins)
	for f := range folds {
		b.ends = append(b.ends, first+(last-first)*f/folds)
	}
	return b
}

// run trains one model fold by fold and keeps its forecasts.
func (b *backtest) run(t model.Trainer) {
	made := make([][]float64, len(b.origins))
	flat := make([]float64, len(b.origins)*b.horizon)
	fold := -1
	var p model.Predictor
	for i, o := range b.origins {
		for fold+1 < len(b.ends) && b.ends[fold+1] <= o {
			fold++
			p = t.Train(b.ends[fold])
		}
		made[i] = flat[i*b.horizon : (i+1)*b.horizon]
		p.Forecast(o, made[i])
		b.bounds.enforce(made[i], b.data.Y[o-1])
	}
	b.made = append(b.made, made)
}

// errors are the paths by which the combined forecasts missed; origins that touch a gap give no path.
func (b *backtest) errors(w *weigher, combine func(w, column []float64) float64) (Errors, *scaler) {
	e := Errors{Sorted: make([][]float64, b.horizon)}
	s := &scaler{step: make([]float64, b.horizon), spread: make([]float64, b.horizon)}
	column := make([]float64, len(b.made))
	var spreads [][]float64
	for j, o := range b.origins {
		if slices.Contains(b.data.Missing[o:o+b.horizon], true) {
			continue
		}
		weights := w.weights(o, b.horizon)
		path, spread := make([]float64, b.horizon), make([]float64, b.horizon)
		for k := range path {
			for i := range column {
				column[i] = b.made[i][j][k]
			}
			mean := combine(weights[k], column)
			path[k] = b.data.Y[o+k] - mean
			spread[k] = disagreement(weights[k], column, mean)
			s.step[k] += math.Abs(path[k])
			s.spread[k] += spread[k]
			e.Scores = append(e.Scores, Score{Actual: b.data.Y[o+k], Mean: mean, Reactive: b.data.Y[o-1], Step: k})
		}
		s.restless += restlessness(b.data.Y, o)
		e.Paths = append(e.Paths, path)
		e.Origins = append(e.Origins, o)
		spreads = append(spreads, spread)
	}
	n := math.Max(1, float64(len(e.Paths)))
	s.restless /= n
	for k := range s.step {
		s.step[k] /= n
		s.spread[k] /= n
		s.smallest = math.Max(s.smallest, 1e-9*s.step[k])
	}
	s.smallest += 1e-300
	for j, path := range e.Paths {
		restless := restlessness(b.data.Y, e.Origins[j])
		for k := range path {
			scale := s.at(k, spreads[j][k], restless)
			path[k] /= scale
			e.Scores[j*b.horizon+k].Scale = scale
		}
	}
	e.sort()
	return e, s
}

// sort fills Order.
func (e *Errors) sort() {
	for k := range e.Sorted {
		order := make([]int32, len(e.Paths))
		for j := range order {
			order[j] = int32(j)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(e.Paths[a][k], e.Paths[b][k]) })
		e.Order = append(e.Order, order)
		for _, j := range order {
			e.Sorted[k] = append(e.Sorted[k], e.Paths[j][k])
		}
	}
}
