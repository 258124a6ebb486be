package probe

import "math"

// estimate is the knee as all steps so far see it.
type estimate struct {
	rate, lower, upper float64
	// near is the number of steps used, below and above those on either side of the rate.
	near, below, above int
}

const (
	// nearby is how far beyond the bracket a step still says something about the knee, in the logarithm of the rate.
	nearby = 0.35
	// slopePrior is how fast the log-odds of a violation grow with the logarithm of the rate near the knee: 15 to 18 for a
	// queue with fixed service times at the 95 % quantile. slopeDeviation is how unsure that is: a service that collapses is
	// far steeper.
	slopePrior, slopeDeviation = 16.0, 12.0
	minSlope                   = 3.0
	// clumping is how many requests of a step say as much as one independent request: violations come in bursts, while the
	// queue is long. In the simulated queues of the tests the share of violations scatters as if it were 7 to 14; the rest
	// is for what the interval leaves out, the shape of the curve and the slow growth of a queue.
	clumping = 25.0
	// z95 is the two-sided 95 % point of the normal distribution.
	z95 = 1.96
)

// estimate needs steps on both sides of the SLO.
func (s *Search) estimate() estimate {
	met, unmet := s.bounds()
	low, high := math.Log(min(met, unmet)), math.Log(max(met, unmet))
	var points []point
	for _, step := range s.steps {
		x := math.Log(step.Offered)
		if step.Valid && x >= low-nearby && x <= high+nearby {
			points = append(points, s.point(x, step))
		}
	}
	level := logit(1 - s.plan.SLO.Quantile)
	crossing, slope, sd := fit(points, level)
	// Verdicts bound the answer: it lies between the levels that disagree, whichever way round they came to lie.
	x := min(max(crossing, low), high)
	half := z95 * sd
	if unmet > met {
		half = max(half, (high-low)/2)
	}
	x -= burstiness(level, slope, x, points)
	e := estimate{rate: math.Exp(x), lower: math.Exp(x - half), upper: math.Exp(x + half), near: len(points)}
	for _, p := range points {
		if p.x < x {
			e.below++
		} else {
			e.above++
		}
	}
	return e
}

// point is one step: of n effective requests, the share v broke the SLO at the logarithm of rate x, held for seconds.
type point struct{ x, v, n, seconds float64 }

func (s *Search) point(x float64, step Step) point {
	v := step.ViolationRatio
	if !step.Met && step.Broken != BrokenLatency {
		// It failed for another reason than its tail: that counts like a tail far beyond the limit.
		v = max(v, 0.5)
	}
	return point{x: x, v: v, n: float64(step.Requests) / clumping, seconds: float64(step.Requests) / step.Offered}
}

// fit solves the logistic regression of violations on the logarithm of the rate, with a prior on its slope, by Newton's
// method, and returns where it crosses the level (log-odds), its slope there, and the standard deviation of the crossing.
func fit(points []point, level float64) (crossing, slope, sd float64) {
	mean := 0.0
	for _, p := range points {
		mean += p.x / float64(len(points))
	}
	a, b := level, slopePrior
	var haa, hab, hbb float64
	for range 50 {
		ga, gb := 0.0, -(b-slopePrior)/(slopeDeviation*slopeDeviation)
		// A hundredth of a request holds the intercept where nothing else does.
		haa, hab, hbb = 0.01, 0, 1/(slopeDeviation*slopeDeviation)
		ga -= 0.01 * (a - level)
		for _, p := range points {
			d := p.x - mean
			m := 1 / (1 + math.Exp(-(a + b*d)))
			w := p.n * m * (1 - m)
			ga, gb = ga+p.n*(p.v-m), gb+p.n*(p.v-m)*d
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
	return mean + d, b, math.Sqrt(max(0, variance))
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// burstiness is by how much the knee of real traffic lies below that of the steps, in the logarithm of the rate. A step offers
// a fixed number of requests, which takes most of the noise out of it, but independent clients send a Poisson number: in the
// same stretch of time sometimes more, and then more of them break the SLO than are saved when there are fewer. The fitted
// curve is averaged over that number.
func burstiness(level, slope, x float64, points []point) float64 {
	seconds := 0.0
	for _, p := range points {
		seconds += p.seconds / float64(len(points))
	}
	sd := 1 / math.Sqrt(math.Exp(x)*seconds)
	slope = min(slope, slopePrior)
	share := func(shift float64) float64 {
		sum := 0.0
		for i, z := range hermiteAt {
			sum += hermiteWeight[i] / (1 + math.Exp(-(level + slope*(z*sd-shift))))
		}
		return sum
	}
	want := 1 / (1 + math.Exp(-level))
	low, high := 0.0, 1.0
	for range 30 {
		mid := (low + high) / 2
		if share(mid) > want {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// Nodes and weights of the five-point Gauss-Hermite rule for the standard normal distribution.
var (
	hermiteAt     = [5]float64{-2.8569700138728056, -1.3556261799742659, 0, 1.3556261799742659, 2.8569700138728056}
	hermiteWeight = [5]float64{0.011257411327720689, 0.22207592200561266, 0.53333333333333333, 0.22207592200561266, 0.011257411327720689}
)
