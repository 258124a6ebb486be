package correlate

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// curveF is the F statistic (1 numerator degree of freedom) that chance exceeds once in about a thousand.
	curveF = 10.8
	// curveGain is the share of the residual a curve must remove to matter: with many rows any trifle is significant.
	curveGain = 0.05
)

func (c *Cost) diagnose(s sample, d reduced, rss, tss float64) {
	n := len(s.y)
	unknowns := 1 + len(activeColumns(c.PerRequest))
	c.Diagnostics.Rows = n
	if tss > 0 {
		c.Diagnostics.R2 = math.Max(0, 1-rss/tss)
	}
	variance := rss / float64(n-unknowns)
	c.Diagnostics.ResidualStd = math.Sqrt(variance)
	c.StdErr = d.standardErrors(c.PerRequest, variance)
	c.Diagnostics.Nonlinear = c.curved(s)
}

// standardErrors come from the inverse of the triangular factor of the strata that have a cost.
func (d reduced) standardErrors(costs []float64, variance float64) []float64 {
	out := make([]float64, d.p)
	columns := activeColumns(costs)
	if len(columns) == 0 {
		return out
	}
	sub := mat.NewDense(d.p+1, len(columns), nil)
	for k, j := range columns {
		sub.SetCol(k, mat.Col(nil, j, d.r))
	}
	var inverse mat.Dense
	// A nearly singular factor still inverts, with the large errors it deserves; only an exact one is an error.
	if err := inverse.Inverse(triangular(sub)); err != nil {
		var near mat.Condition
		if !errors.As(err, &near) {
			return out
		}
	}
	for k, j := range columns {
		out[j] = math.Sqrt(variance) * mat.Norm(inverse.RowView(k), 2)
	}
	return out
}

// curved asks whether the square of the fitted usage explains what the line leaves over.
func (c *Cost) curved(s sample) bool {
	n := len(s.y)
	fitted := make([]float64, n)
	mean := 0.0
	for i, row := range s.x {
		fitted[i] = c.Usage(row)
		mean += fitted[i] / float64(n)
	}
	columns := activeColumns(c.PerRequest)
	if len(columns) == 0 || n < 2*(len(columns)+3) {
		return false
	}
	line, curve := mat.NewDense(n, len(columns)+2, nil), mat.NewDense(n, len(columns)+3, nil)
	for i, row := range s.x {
		for k, j := range columns {
			line.Set(i, k, row[j])
			curve.Set(i, k, row[j])
		}
		k := len(columns)
		line.Set(i, k, 1)
		curve.Set(i, k, 1)
		curve.Set(i, k+1, (fitted[i]-mean)*(fitted[i]-mean))
		line.Set(i, k+1, s.y[i])
		curve.Set(i, k+2, s.y[i])
	}
	straight, bent := lastSquare(line), lastSquare(curve)
	gain := straight - bent
	degrees := float64(n - len(columns) - 2)
	noise := 1e-18 * (mean*mean + 1) * float64(n)
	return gain > curveGain*straight+noise && gain > curveF*bent/degrees
}

func activeColumns(costs []float64) []int {
	var columns []int
	for j, v := range costs {
		if v > 0 {
			columns = append(columns, j)
		}
	}
	return columns
}

// lastSquare returns the squared error left when the last column is regressed on the others.
func lastSquare(a *mat.Dense) float64 {
	t := triangular(a)
	_, c := t.Dims()
	return t.At(c-1, c-1) * t.At(c-1, c-1)
}
