package correlate

import (
	"fmt"
	"math"

	"github.com/sajari/regression"
	"gonum.org/v1/gonum/mat"
)

// dependence is the share of a stratum's movement that must be its own for its cost to be told apart.
const dependence = 1e-7

// reduced is the least-squares problem in the smallest form: the triangular factor of [X|y], whose Gram matrix is that
// of the data. Its size is the number of strata plus one, however many observations went in.
type reduced struct {
	r       *mat.Dense // (p+1) x (p+1)
	p       int
	rows    int
	xMean   []float64 // what centring took off; zeros when the fit goes through the origin
	yMean   float64
	columns []float64 // norm of each column of X after centring
}

// reduce factorises the sample. Centring it first puts the base outside the problem; without, the base is zero.
func reduce(s sample, centre bool) reduced {
	n, p := len(s.y), len(s.strata)
	out := reduced{p: p, rows: n, xMean: make([]float64, p), columns: make([]float64, p)}
	if centre {
		for i, row := range s.x {
			for j, v := range row {
				out.xMean[j] += (v - out.xMean[j]) / float64(i+1)
			}
			out.yMean += (s.y[i] - out.yMean) / float64(i+1)
		}
	}
	a := mat.NewDense(n, p+1, nil)
	for i, row := range s.x {
		for j, v := range row {
			a.Set(i, j, v-out.xMean[j])
		}
		a.Set(i, p, s.y[i]-out.yMean)
	}
	for j := range p {
		out.columns[j] = mat.Norm(a.ColView(j), 2)
	}
	out.r = triangular(a)
	return out
}

// triangular returns the square triangular factor of a, which has at least as many rows as columns.
func triangular(a *mat.Dense) *mat.Dense {
	var qr mat.QR
	qr.Factorize(a)
	var r mat.Dense
	qr.RTo(&r)
	_, c := r.Dims()
	return mat.DenseCopyOf(r.Slice(0, c, 0, c))
}

// independent refuses strata that the others explain: a diagonal of the factor is the part of a column that no earlier
// column has.
func (d reduced) independent(s sample) error {
	for j := range d.p {
		if d.columns[j] <= dependence*math.Abs(d.xMean[j])*math.Sqrt(float64(d.rows)) {
			return fmt.Errorf("fit %d observations: stratum %q never varies: %w", d.rows, s.strata[j], ErrCollinear)
		}
		if math.Abs(d.r.At(j, j)) > dependence*d.columns[j] {
			continue
		}
		involved := []string{s.strata[j]}
		for i := range j {
			if math.Abs(d.r.At(i, j)) > dependence*d.columns[j] {
				involved = append(involved, s.strata[i])
			}
		}
		return fmt.Errorf("fit %d observations: strata %s move together: %w", d.rows, quoteAll(involved), ErrCollinear)
	}
	return nil
}

// solve returns the least-squares costs of the chosen strata, zero for the rest, and the residual sum of squares.
func (d reduced) solve(chosen []bool) (costs []float64, rss float64, err error) {
	costs = make([]float64, d.p)
	var columns []int
	for j, in := range chosen {
		if in {
			columns = append(columns, j)
		}
	}
	sub := mat.NewDense(d.p+1, len(columns)+1, nil)
	for k, j := range append(columns, d.p) {
		sub.SetCol(k, mat.Col(nil, j, d.r))
	}
	t := triangular(sub)
	k := len(columns)
	if k == 0 {
		return costs, t.At(0, 0) * t.At(0, 0), nil
	}
	var fit regression.Regression
	for i := range k + 1 {
		row, mirrored := make([]float64, k), make([]float64, k)
		for j := range k {
			row[j], mirrored[j] = t.At(i, j), -t.At(i, j)
		}
		// Mirrored rows cancel the intercept that the library always estimates.
		fit.Train(regression.DataPoint(t.At(i, k), row), regression.DataPoint(-t.At(i, k), mirrored))
	}
	if err := fit.Run(); err != nil {
		return nil, 0, fmt.Errorf("run regression on %d strata: %w", k, err)
	}
	for i, j := range columns {
		costs[j] = fit.Coeff(i + 1)
	}
	return costs, t.At(k, k) * t.At(k, k), nil
}

// base returns what is left of the mean usage when the mean traffic is paid for.
func (d reduced) base(costs []float64) float64 {
	base := d.yMean
	for j, c := range costs {
		base -= c * d.xMean[j]
	}
	return base
}

// gradient returns how fast the squared error would fall per unit of stratum j's cost.
func (d reduced) gradient(costs []float64, j int) float64 {
	total := 0.0
	for i := range d.p + 1 {
		residual := d.r.At(i, d.p)
		for k, c := range costs {
			residual -= c * d.r.At(i, k)
		}
		total += d.r.At(i, j) * residual
	}
	return total
}
