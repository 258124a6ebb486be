package model

import (
	"iter"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Ridge is direct multi-step ridge regression (Hoerl, Kennard 1970; direct strategy: Taieb et al. 2012): one set of
// coefficients per step ahead, on features that only know the past. Coefficients are learnt at a few steps and interpolated
// between them.
type Ridge struct {
	features regressors
	label    string
	penalty  float64
	robust   bool
	knots    []int
	sums     []*moments
	coef     [][]float64 // per knot, as learnt last
	done     int
}

// regressors turn the history before an origin into what the value some steps ahead is regressed on.
type regressors interface {
	Width() int
	// First is the first origin whose row is all real.
	First() int
	// Row fills x for step k (0-based) from origin and returns the target, NaN when it is not known yet.
	Row(origin, k int, x []float64) float64
	// Restore maps the prediction of a target back to the unit of the series.
	Restore(origin, k int, target float64) float64
	extend()
	missing(i int) bool
}

// NewRidge prepares a ridge model for forecasts of up to horizon steps. penalty is relative to the number of rows.
func NewRidge(label string, f regressors, horizon int, penalty float64) *Ridge {
	r := &Ridge{features: f, label: label, penalty: penalty, knots: stepKnots(horizon)}
	for range r.knots {
		r.sums = append(r.sums, newMoments(f.Width()))
		r.coef = append(r.coef, nil)
	}
	return r
}

// stepKnots are the 0-based steps at which coefficients are learnt: dense at first, then about geometric.
func stepKnots(horizon int) []int {
	var knots []int
	for k := 0; k < horizon-1; k += max(1, (k+2)/3) {
		knots = append(knots, k)
	}
	return append(knots, horizon-1)
}

func (r *Ridge) Name() string { return r.label }

// Train adds the rows whose targets became known since the last call and solves for the coefficients.
func (r *Ridge) Train(end int) Predictor {
	r.features.extend()
	r.coef = slices.Clone(r.coef) // predictors keep theirs
	for i, k := range r.knots {
		rows := r.rows(k, end)
		if r.robust {
			r.addRobustly(i, rows)
		} else {
			for x, y := range rows {
				r.sums[i].add(x, y, 1)
			}
		}
		r.coef[i] = r.sums[i].solve(r.penalty)
	}
	r.done = max(r.done, end)
	return &ridgePredictor{features: r.features, knots: r.knots, coef: r.coef}
}

// rows yields what was not learnt yet for step k; x is overwritten by the next row.
func (r *Ridge) rows(k, end int) iter.Seq2[[]float64, float64] {
	return func(yield func([]float64, float64) bool) {
		x := make([]float64, r.features.Width())
		for target := max(r.done, r.features.First()+k); target < end; target++ {
			if r.features.missing(target) {
				continue
			}
			if y := r.features.Row(target-k, k, x); !yield(x, y) {
				return
			}
		}
	}
}

type ridgePredictor struct {
	features regressors
	knots    []int
	coef     [][]float64 // per knot: one per feature, the intercept last
	x        []float64
}

func (p *ridgePredictor) Forecast(origin int, out []float64) {
	p.features.extend()
	if p.x == nil {
		p.x = make([]float64, p.features.Width())
	}
	i := 0
	for k := range out {
		for i+1 < len(p.knots) && p.knots[i+1] <= k {
			i++
		}
		p.features.Row(origin, k, p.x)
		v := dot(p.coef[i], p.x)
		if i+1 < len(p.knots) && k > p.knots[i] {
			w := float64(k-p.knots[i]) / float64(p.knots[i+1]-p.knots[i])
			v = (1-w)*v + w*dot(p.coef[i+1], p.x)
		}
		out[k] = p.features.Restore(origin, k, v)
	}
}

// dot applies coefficients with a trailing intercept.
func dot(coef, x []float64) float64 {
	sum := coef[len(x)]
	for i, v := range x {
		sum += coef[i] * v
	}
	return sum
}

// moments are the running sums a least-squares fit needs.
type moments struct {
	n    float64
	x    []float64
	xx   []float64 // upper triangle by rows
	y    float64
	xy   []float64
	size int
}

func newMoments(size int) *moments {
	return &moments{x: make([]float64, size), xx: make([]float64, size*size), xy: make([]float64, size), size: size}
}

// add counts one row with a weight.
func (m *moments) add(x []float64, y, weight float64) {
	m.n += weight
	m.y += weight * y
	for i, v := range x {
		v *= weight
		m.x[i] += v
		m.xy[i] += v * y
		rest := x[i:]
		row := m.xx[i*m.size+i : (i+1)*m.size]
		row = row[:len(rest)] // spares a check per product: this loop is a fifth of a fit
		j := 0
		for ; j+4 <= len(rest); j += 4 {
			to, from := row[j:j+4:j+4], rest[j:j+4:j+4]
			to[0] += v * from[0]
			to[1] += v * from[1]
			to[2] += v * from[2]
			to[3] += v * from[3]
		}
		for ; j < len(rest); j++ {
			row[j] += v * rest[j]
		}
	}
}

// solve returns ridge coefficients on standardised features, the intercept last; zeros when there is nothing to learn from.
func (m *moments) solve(penalty float64) []float64 {
	p := m.size
	coef := make([]float64, p+1)
	if m.n < 10 {
		return coef
	}
	scale := make([]float64, p)
	for i := range scale {
		variance := m.xx[i*p+i]/m.n - m.x[i]/m.n*m.x[i]/m.n
		if variance > 1e-12*m.xx[i*p+i]/m.n {
			scale[i] = 1 / math.Sqrt(variance)
		}
	}
	gram := mat.NewSymDense(p, nil)
	rhs := mat.NewVecDense(p, nil)
	for i := range p {
		for j := i; j < p; j++ {
			gram.SetSym(i, j, (m.xx[i*p+j]/m.n-m.x[i]/m.n*m.x[j]/m.n)*scale[i]*scale[j])
		}
		gram.SetSym(i, i, gram.At(i, i)+penalty+1e-9)
		rhs.SetVec(i, (m.xy[i]/m.n-m.x[i]/m.n*m.y/m.n)*scale[i])
	}
	var chol mat.Cholesky
	if !chol.Factorize(gram) {
		return coef
	}
	var b mat.VecDense
	if err := chol.SolveVecTo(&b, rhs); err != nil {
		return coef
	}
	coef[p] = m.y / m.n
	for i := range p {
		coef[i] = b.AtVec(i) * scale[i]
		coef[p] -= coef[i] * m.x[i] / m.n
	}
	return coef
}
