package probe

import "math"

// Scalability is the Universal Scalability Law (Gunther, Guerrilla Capacity Planning, Springer 2007) as fitted to the steps:
//
//	X(N) = Rate*N / (1 + Contention*(N-1) + Coherency*N*(N-1))
//
// where N requests are in flight and X are completed per second.
type Scalability struct {
	// Rate is what one request at a time completes, in requests per second.
	Rate float64
	// Contention is the share of the work that one request at a time can do: it bends the curve to a ceiling of
	// Rate/Contention, reached to half at N = 1/Contention. Coherency is the cost of each pair of requests agreeing: it
	// turns the curve down.
	Contention, Coherency float64
	// Peak is the number in flight beyond which more completes less, PeakRate what is completed there; 0 without Coherency.
	Peak, PeakRate float64
	// Fit is the share of the variance that the curve explains, at most 1.
	Fit float64
}

// minScalability steps of different concurrency are needed for three unknowns.
const minScalability = 4

// FitScalability returns the law with the least squared relative error; false when the steps are too few or too alike.
func FitScalability(steps []Step) (Scalability, bool) {
	var n, x []float64
	low, high := math.Inf(1), 0.0
	for _, s := range steps {
		done := s.Completed * (1 - s.ErrorRatio)
		if !s.Valid || s.Concurrency <= 0 || done <= 0 {
			continue
		}
		n, x = append(n, s.Concurrency), append(x, done)
		low, high = min(low, s.Concurrency), max(high, s.Concurrency)
	}
	if len(n) < minScalability || high < 1.5*low {
		return Scalability{}, false
	}
	// N/X is linear in the unknowns, so relative errors of X are least squares of (N/X - fit)/(N/X). A negative contention or
	// coherency means nothing: the best fit without it is taken.
	best, bestError := Scalability{}, math.Inf(1)
	for _, use := range [][3]bool{{true, true, true}, {true, true, false}, {true, false, true}, {true, false, false}} {
		c, ok := leastSquares(n, x, use)
		if !ok || c[0] <= 0 || c[1] < 0 || c[2] < 0 {
			continue
		}
		s := Scalability{Rate: 1 / c[0], Contention: c[1] / c[0], Coherency: c[2] / c[0]}
		if e := s.squaredError(n, x); e < bestError {
			best, bestError = s, e
		}
	}
	if math.IsInf(bestError, 1) || best.Contention > 1 {
		return Scalability{}, false
	}
	mean, total := 0.0, 0.0
	for i := range x {
		mean += math.Log(x[i]) / float64(len(x))
	}
	for i := range x {
		total += (math.Log(x[i]) - mean) * (math.Log(x[i]) - mean)
	}
	best.Fit = 1 - bestError/max(total, 1e-12)
	if best.Coherency > 0 {
		best.Peak = math.Sqrt((1 - best.Contention) / best.Coherency)
		best.PeakRate = best.At(best.Peak)
	}
	return best, true
}

// At is what is completed with n in flight, in requests per second.
func (s Scalability) At(n float64) float64 {
	return s.Rate * n / (1 + s.Contention*(n-1) + s.Coherency*n*(n-1))
}

func (s Scalability) squaredError(n, x []float64) float64 {
	sum := 0.0
	for i := range n {
		d := math.Log(x[i] / s.At(n[i]))
		sum += d * d
	}
	return sum
}

// leastSquares solves N/X = c0 + c1*(N-1) + c2*N*(N-1) in relative terms for the unknowns in use.
func leastSquares(n, x []float64, use [3]bool) (c [3]float64, ok bool) {
	var a [3][4]float64
	for i := range n {
		w := x[i] / n[i]
		row := [3]float64{w, w * (n[i] - 1), w * n[i] * (n[i] - 1)}
		for j := range row {
			for k := range row {
				a[j][k] += row[j] * row[k]
			}
			a[j][3] += row[j]
		}
	}
	for j := range use {
		if !use[j] {
			a[j] = [4]float64{}
			for k := range a {
				a[k][j] = 0
			}
			a[j][j] = 1
		}
	}
	return eliminate(a)
}

// eliminate solves three linear equations; false when they are not independent.
func eliminate(a [3][4]float64) (c [3]float64, ok bool) {
	for i := range a {
		pivot := i
		for j := i + 1; j < len(a); j++ {
			if math.Abs(a[j][i]) > math.Abs(a[pivot][i]) {
				pivot = j
			}
		}
		a[i], a[pivot] = a[pivot], a[i]
		if math.Abs(a[i][i]) < 1e-12 {
			return c, false
		}
		for j := range a {
			if j == i {
				continue
			}
			f := a[j][i] / a[i][i]
			for k := i; k < 4; k++ {
				a[j][k] -= f * a[i][k]
			}
		}
	}
	for i := range a {
		c[i] = a[i][3] / a[i][i]
	}
	return c, true
}
