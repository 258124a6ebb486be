package model

import (
	"math"
	"slices"
)

// NewRobustRidge is NewRidge with Huber weights (Huber 1964; by reweighting: Holland, Welsch 1977): a day that goes far from
// what is known of the others, a promotion or an outage, bends the coefficients little.
func NewRobustRidge(label string, f regressors, horizon int, penalty float64) *Ridge {
	r := NewRidge(label, f, horizon, penalty)
	r.robust = true
	return r
}

// robustAt is beyond how many median absolute errors a row counts less.
const robustAt = 2

// addRobustly adds rows for the i-th knot. Each is weighed once, when it comes, by how far it lies from what was learnt
// before it, so that a fit costs no rounds over the whole history; the first rows are weighed by their own plain fit.
func (r *Ridge) addRobustly(i int, rows func(yield func([]float64, float64) bool)) {
	width := r.features.Width()
	var xs, ys []float64
	for x, y := range rows {
		xs, ys = append(xs, x...), append(ys, y)
	}
	if len(ys) == 0 {
		return
	}
	row := func(j int) []float64 { return xs[j*width : (j+1)*width] }
	known := r.coef[i]
	if known == nil {
		plain := newMoments(width)
		for j, y := range ys {
			plain.add(row(j), y, 1)
		}
		known = plain.solve(r.penalty)
	}
	misses := make([]float64, len(ys))
	for j, y := range ys {
		misses[j] = math.Abs(y - dot(known, row(j)))
	}
	sorted := slices.Clone(misses)
	slices.Sort(sorted)
	bound := robustAt * sorted[len(sorted)/2]
	for j, y := range ys {
		weight := 1.0
		if bound > 0 && misses[j] > bound {
			weight = bound / misses[j]
		}
		r.sums[i].add(row(j), y, weight)
	}
}
