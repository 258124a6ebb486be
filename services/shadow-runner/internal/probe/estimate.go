package probe

import (
	"math"
	"slices"
)

// estimate is the knee as all steps so far see it.
type estimate struct {
	rate, lower, upper float64
	// near is the number of steps used, below and above those on either side of the rate.
	near, below, above int
}

const (
	// nearby is how far beyond the bracket a step still says something about the knee, in the logarithm of the rate. Once
	// closeEnough steps lie within closeby of the estimate, only those count: further away the curve is another one.
	nearby      = 0.35
	closeby     = 0.15
	closeEnough = 6
	// slopePrior is how fast the log-odds of a violation grow with the logarithm of the rate near the knee: 15 to 18 for a
	// queue with fixed service times at the 95 % quantile. slopeDeviation is how unsure that is: a service that collapses is
	// far steeper.
	slopePrior, slopeDeviation = 16.0, 12.0
	minSlope                   = 3.0
	// clumpDegrees is what the clumping seen inside of the steps weighs against that between them, in degrees of freedom.
	clumpDegrees = 8.0
	clumpRidge   = 0.002
	// leastErrors stands for a forgiven error ratio of zero, whose log-odds have no end.
	leastErrors = 0.001
	// z95 is the two-sided 95 % point of the normal distribution.
	z95 = 1.96
	// stopping makes up for when a search ends: once its interval is narrow, which is rather where by chance the steps scatter
	// little and look surer than they are. Without it the interval of seven simulated laws covered the truth in 88 to 90 % of
	// 300 runs each, with it in 95 % or more.
	stopping = 1.25
)

// criterion is one share of bad requests and how much of it the SLO forgives.
type criterion struct {
	forgiven float64
	share    func(Step) float64
	clump    func(Step) float64
	broken   string
}

func (s *Search) criteria() [2]criterion {
	return [2]criterion{
		{1 - s.plan.SLO.Quantile, func(t Step) float64 { return t.ViolationRatio }, func(t Step) float64 { return t.ViolationClump }, BrokenLatency},
		{max(s.plan.SLO.ErrorRatio, leastErrors), func(t Step) float64 { return t.ErrorRatio }, func(t Step) float64 { return t.ErrorClump }, BrokenErrors},
	}
}

// estimate needs steps on both sides of the SLO. Each criterion has its own knee; the lowest one is the instance's.
func (s *Search) estimate() estimate {
	met, unmet := s.bounds()
	low, high := math.Log(min(met, unmet)), math.Log(max(met, unmet))
	best := estimate{rate: math.Inf(1)}
	for i, c := range s.criteria() {
		// A criterion that no step broke has its knee above them all. The latency stands in for what has no share of its own.
		if i > 0 && !slices.ContainsFunc(s.steps, func(t Step) bool { return t.Valid && c.share(t) > c.forgiven }) {
			continue
		}
		points := s.points(c, low-nearby, high+nearby)
		x, half := s.cross(points, c, low, high)
		if near := within(points, x, closeby); len(near) >= closeEnough {
			points = near
			x, half = s.cross(points, c, low, high)
		}
		e := estimate{rate: math.Exp(x), lower: math.Exp(x - half), upper: math.Exp(x + half), near: len(points)}
		for _, p := range points {
			if p.x < x {
				e.below++
			} else {
				e.above++
			}
		}
		if e.rate < best.rate {
			best = e
		}
	}
	return best
}

// cross is where the criterion is reached and half its 95 % interval, both in the logarithm of the rate.
func (s *Search) cross(points []point, c criterion, low, high float64) (x, half float64) {
	level := logit(c.forgiven)
	points = slices.Clone(points) // fit changes them
	f := fit(points, level)
	// Verdicts bound the answer: it lies between the levels that disagree, whichever way round they came to lie.
	x = min(max(f.crossing, low), high)
	half = stopping * student(len(points)-2) * f.sd
	if met, unmet := s.bounds(); unmet > met {
		half = max(half, (high-low)/2)
	}
	return x - burstiness(level, f.slope, x, points) - skew(c.forgiven, f), half
}

// skew is by how much the crossing comes out too high on average, in the logarithm of the rate: the log-odds of a small share
// that is counted from a few bursts are low on average, for the logarithm is concave (the second-order term of the delta
// method; Firth, Biometrika 80, 1993, takes the same out of the fit). An estimate that is still rough is left alone: there
// the term is no small correction, and steps that followed it down would see no violations at all.
func skew(forgiven float64, f curve) float64 {
	const small = 0.25
	if f.sd*f.slope > small {
		return 0
	}
	return f.sd * f.sd * f.slope * (1 - 2*forgiven) / 2
}

// student is about the two-sided 95 % point of Student's distribution: how much the steps scatter is itself known from a few
// only, and a search that ends when its interval is narrow ends rather where the scatter looks smaller than it is.
func student(degrees int) float64 { return z95 + 2.4/max(float64(degrees), 1) }

// point is one step: of n requests, every clump of which say as much as one, the share v was bad at the logarithm of rate x,
// held for seconds.
type point struct{ x, v, n, clump, seconds float64 }

func (s *Search) points(c criterion, from, to float64) []point {
	var out []point
	for _, t := range s.steps {
		x := math.Log(t.Offered)
		if !t.Valid || x < from || x > to {
			continue
		}
		p := point{x: x, v: c.share(t), n: float64(t.Requests), clump: c.clump(t), seconds: float64(t.Requests) / t.Offered}
		if c.broken == BrokenLatency && (t.Broken == BrokenThroughput || t.Broken == BrokenQueue || t.Broken == BrokenLost) {
			// It failed for another reason than its tail: that counts like a tail far beyond the limit.
			p.v = max(p.v, 0.5)
		}
		out = append(out, p)
	}
	return out
}

func within(points []point, x, distance float64) []point {
	var out []point
	for _, p := range points {
		if math.Abs(p.x-x) <= distance {
			out = append(out, p)
		}
	}
	return out
}

// curve is a fitted logistic curve: where it crosses the level, how steep it is, and the standard deviation of the crossing.
type curve struct{ crossing, slope, sd float64 }

// fit solves the logistic regression of the bad share on the logarithm of the rate, with a prior on its slope, by Newton's
// method; level is in log-odds. How much the requests clump, first as seen inside of the steps, is then seen between them.
func fit(points []point, level float64) curve {
	smoothClumps(points)
	c, a, b, mean := solve(points, level)
	scatter := 0.0
	for _, p := range points {
		m := 1 / (1 + math.Exp(-(a + b*(p.x-mean))))
		scatter += p.n / p.clump * (p.v - m) * (p.v - m) / max(m*(1-m), 1/p.n)
	}
	if k := float64(len(points) - 2); k > 0 {
		if both := (clumpDegrees + scatter) / (clumpDegrees + k); both > 1 {
			for i := range points {
				points[i].clump *= both
			}
			c, _, _, _ = solve(points, level)
		}
	}
	return c
}

// smoothClumps replaces the clumping of each point by that of a line through all of them: what one step shows is uncertain by
// half, and is large where by chance many requests were bad, which must not make that step count less. A queue remembers the
// longer the nearer it is to its limit, so the line may only rise. The line is that of the logarithms, which lies below the mean,
// and far below where a step holds only a few bursts: it is raised until the clumps are right on average (the smearing estimate;
// Duan, JASA 78, 1983). What the steps are too short to tell is taken as clumping.
func smoothClumps(points []point) {
	var sw, sx, sy, sxx, sxy float64
	for _, p := range points {
		if p.clump > 0 {
			y := math.Log(p.clump)
			sw, sx, sy, sxx, sxy = sw+1, sx+p.x, sy+y, sxx+p.x*p.x, sxy+p.x*y
		}
	}
	mean, slope := 0.0, 0.0
	if sw > 0 {
		mean = sx / sw
		// A few steps at about one rate say nothing of the slope; clumpRidge holds it down.
		slope = max(0, (sxy-sx*sy/sw)/(sxx-sx*sx/sw+clumpRidge))
	}
	if sw == 0 {
		for i := range points {
			points[i].clump = clumping
		}
		return
	}
	line := func(x float64) float64 { return math.Exp(sy/sw + min(slope*(x-mean), math.Ln2*2)) }
	raise := 0.0
	for _, p := range points {
		raise += p.clump / line(p.x) / sw
	}
	for i, p := range points {
		points[i].clump = raise * line(p.x)
	}
}

// solve returns the curve, and its intercept a at the mean of the points and slope b.
func solve(points []point, level float64) (c curve, a, b, mean float64) {
	for _, p := range points {
		mean += p.x / float64(len(points))
	}
	a, b = level, slopePrior
	var haa, hab, hbb float64
	for range 50 {
		ga, gb := 0.0, -(b-slopePrior)/(slopeDeviation*slopeDeviation)
		// A hundredth of a request holds the intercept where nothing else does.
		haa, hab, hbb = 0.01, 0, 1/(slopeDeviation*slopeDeviation)
		ga -= 0.01 * (a - level)
		for _, p := range points {
			d, n := p.x-mean, p.n/p.clump
			m := 1 / (1 + math.Exp(-(a + b*d)))
			w := n * m * (1 - m)
			ga, gb = ga+n*(p.v-m), gb+n*(p.v-m)*d
			haa, hab, hbb = haa+w, hab+w*d, hbb+w*d*d
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		scale := min(1, 2/math.Max(math.Abs(da), math.Abs(db)/4))
		a, b = a+scale*da, max(b+scale*db, minSlope)
		if math.Abs(da)+math.Abs(db) < 1e-9 {
			break
		}
	}
	d := (level - a) / b
	det := haa*hbb - hab*hab
	// Delta method: the crossing moves by -1/b with the intercept and by -d/b with the slope.
	variance := (hbb - 2*d*hab + d*d*haa) / det / (b * b)
	return curve{crossing: mean + d, slope: b, sd: math.Sqrt(max(0, variance))}, a, b, mean
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }
