package pool

import (
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/model"
)

const (
	maxOrigins = 400
	folds      = 4 // how often models are trained again on the way
)

// backtest forecasts from many origins inside the history, never with knowledge of what followed.
type backtest struct {
	data    *model.Data
	horizon int
	origins []int
	ends    []int         // training ends, one per fold; a fold runs to the next end
	made    [][][]float64 // [model][origin][step]
}

func newBacktest(d *model.Data, horizon int) *backtest {
	n := len(d.Y)
	b := &backtest{data: d, horizon: max(1, min(horizon, n/4))}
	first := max(2*n/5, 2)
	last := n - b.horizon
	stride := max(1, (last-first+maxOrigins)/maxOrigins)
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
	}
	b.made = append(b.made, made)
}

// weigh gives each model a weight per step from the inverse of its mean absolute error around that step.
func weigh(b *backtest) [][]float64 {
	const sharpness = 3 // higher trusts the backtest more, lower spreads over more models
	weights := make([][]float64, b.horizon)
	losses := b.losses()
	for k := range weights {
		w, sum := make([]float64, len(b.made)), 0.0
		least := math.Inf(1)
		for i := range w {
			least = min(least, losses[i][k])
		}
		for i := range w {
			ratio := 1.0
			if losses[i][k] > 0 {
				ratio = least / losses[i][k]
			}
			if math.IsNaN(ratio) {
				ratio = 0
			}
			w[i] = math.Pow(ratio, sharpness)
			sum += w[i]
		}
		for i := range w {
			w[i] /= sum
		}
		weights[k] = w
	}
	return weights
}

// losses is the mean absolute error per model and step, averaged over neighbouring steps.
func (b *backtest) losses() [][]float64 {
	out := make([][]float64, len(b.made))
	for i, made := range b.made {
		raw := make([]float64, b.horizon)
		for j, o := range b.origins {
			for k := range raw {
				if !b.data.Missing[o+k] {
					raw[k] += math.Abs(b.data.Y[o+k] - made[j][k])
				}
			}
		}
		out[i] = make([]float64, b.horizon)
		for k := range raw {
			for j := max(0, k-k/3-1); j <= min(b.horizon-1, k+k/3+1); j++ {
				out[i][k] += raw[j]
			}
		}
	}
	return out
}

// errors are the paths by which the combined forecasts missed; origins that touch a gap give no path.
func (b *backtest) errors(combine func(k int, column []float64) float64) Errors {
	e := Errors{Sorted: make([][]float64, b.horizon)}
	column := make([]float64, len(b.made))
	for j, o := range b.origins {
		if slices.Contains(b.data.Missing[o:o+b.horizon], true) {
			continue
		}
		path := make([]float64, b.horizon)
		for k := range path {
			for i := range column {
				column[i] = b.made[i][j][k]
			}
			mean := combine(k, column)
			path[k] = b.data.Y[o+k] - mean
			e.Sorted[k] = append(e.Sorted[k], path[k])
			e.Scores = append(e.Scores, Score{Actual: b.data.Y[o+k], Mean: mean, Reactive: b.data.Y[o-1], Step: k})
		}
		e.Paths = append(e.Paths, path)
	}
	for _, s := range e.Sorted {
		slices.Sort(s)
	}
	return e
}
