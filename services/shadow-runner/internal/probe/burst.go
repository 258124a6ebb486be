package probe

import "math"

const (
	// parts of a window whose shares are compared to see how requests clump; each must hold fewestPerPart requests, and there
	// must be fewestBad bad ones in all, or the comparison is mostly luck.
	parts         = 8
	fewestPerPart = 60
	fewestBad     = 20
	// dependent makes up for parts that are not independent of each other either: a queue near its limit remembers for seconds.
	dependent = 1.6
	// clumping is taken where a step is too short to tell. In simulated queues of fixed service times the share of violations
	// scatters as if it were 7 to 14; the rest is for what the interval leaves out: the shape of the curve and the slow growth
	// of a queue.
	clumping = 25.0
)

// bursts compares the parts of a window (the method of batch means: Law and Carson, Operations Research 27, 1979) and returns
// how many requests say as much as one, for violations and for errors; 0 when it cannot tell.
func bursts(in []Sample, w Window, slo SLO) (violations, errors float64) {
	var n, late, wrong [parts]float64
	width := (w.End - w.Start) / parts
	for _, s := range in {
		at := min(parts-1, int((s.Due-w.Start)/max(width, 1)))
		n[at]++
		failed := s.Failed || s.Unanswered
		if failed {
			wrong[at]++
		}
		if failed || s.Latency > slo.Latency {
			late[at]++
		}
	}
	return clump(n, late), clump(n, wrong)
}

// clump is the variance of the shares of the parts, as a multiple of what independent requests would have.
func clump(n, bad [parts]float64) float64 {
	var all, sum float64
	for i := range n {
		all, sum = all+n[i], sum+bad[i]
	}
	share := sum / all
	if all < parts*fewestPerPart || sum < fewestBad || all-sum < fewestBad {
		return 0
	}
	squares := 0.0
	for i := range n {
		if n[i] > 0 {
			d := bad[i]/n[i] - share
			squares += n[i] * d * d
		}
	}
	return max(1, dependent*squares/(parts-1)/(share*(1-share)))
}

// rankInterval is the 95 % interval of a quantile by order statistics, with as many effective requests as their clumping
// leaves.
func rankInterval(sorted []float64, q, clump float64) (lower, upper float64) {
	if clump == 0 {
		clump = min(clumping, max(1, float64(len(sorted))/fewestPerPart))
	}
	half := z95 * math.Sqrt(q*(1-q)*clump/float64(len(sorted)))
	upper = math.Inf(1)
	if q+half < 1 {
		upper = rank(sorted, q+half)
	}
	return rank(sorted, max(0, q-half)), upper
}

// concurrency is the mean number of requests in flight.
func concurrency(in []Sample, w Window) float64 {
	sum := 0.0
	for _, s := range in {
		done := s.Due + s.Latency
		if s.Unanswered {
			done = w.End
		}
		sum += overlap(s.Due, done, w.Start, w.End)
	}
	return sum / (w.End - w.Start).Seconds()
}
