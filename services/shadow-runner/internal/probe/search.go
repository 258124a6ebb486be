package probe

import (
	"fmt"
	"math"
	"time"
)

// Plan bounds a search.
type Plan struct {
	// SLO is what a level is held against.
	SLO SLO
	// Start is the first rate, in requests per second; a guess of what the instance carries is best.
	Start float64
	// MaxRate is the highest rate that is tried.
	MaxRate float64
	// Precision is how narrow the 95 % interval is to be, as a share of the estimate.
	Precision float64
	// MaxSteps bounds the levels held.
	MaxSteps int
	// Settle and Hold are how long a level is held before it counts, and how long it then counts.
	Settle, Hold time.Duration
}

// Level is a rate to hold, and for how long.
type Level struct {
	// Rate in requests per second.
	Rate float64
	// Settle is held first and does not count; Hold then counts.
	Settle, Hold time.Duration
}

// Search is one search for the knee. It is not safe for concurrent use.
type Search struct {
	plan    Plan
	steps   []Step
	invalid int
}

const (
	growth = 2.0
	// minRate ends the way down: an instance that cannot carry one request in four seconds has no useful knee.
	minRate = 0.25
	// maxInvalid steps in a search end it.
	maxInvalid = 3
	// coarse is how narrow bisecting makes the bracket: below it one verdict is mostly luck.
	coarse = 0.3
	// spread is how far from the estimate refine holds its levels, in turn below and above. Levels at one single rate
	// would leave the slope, and with it the interval, unknown.
	spread = 0.05
	// fewest requests a level holds, unless that takes more than maxStretch times as long as planned.
	fewest     = 20
	maxStretch = 5
	// refineHold times as long as others are the levels that refine holds: a queue takes seconds to become as long as it
	// will be near the knee, and a short step sees it too short.
	refineHold = 2
	// minNear steps near the knee are held before the interval is believed.
	minNear = 4
)

// NewSearch begins a search.
func NewSearch(plan Plan) *Search {
	plan.Start = min(max(plan.Start, minRate), plan.MaxRate)
	return &Search{plan: plan}
}

// Steps are the levels recorded so far, in the order they were held, those that are not valid included.
func (s *Search) Steps() []Step { return s.steps }

// Record adds a level that was held.
func (s *Search) Record(step Step) {
	if !step.Valid {
		s.invalid++
	}
	s.steps = append(s.steps, step)
}

// Next returns the level to hold next; false when the search is over.
func (s *Search) Next() (Level, bool) {
	rate, refine, more := s.next()
	// A tail needs requests: a slow level is held until it has a few.
	hold := max(s.plan.Hold, min(time.Duration(fewest/rate*float64(time.Second)), maxStretch*s.plan.Hold))
	if refine {
		hold *= refineHold
	}
	return Level{Rate: rate, Settle: s.plan.Settle, Hold: hold}, more
}

func (s *Search) next() (rate float64, refine, more bool) {
	if len(s.steps) >= s.plan.MaxSteps || s.invalid >= maxInvalid || s.silent() {
		return 0, false, false
	}
	met, unmet := s.bounds()
	switch {
	case met == 0 && math.IsInf(unmet, 1):
		return s.plan.Start, false, true
	case met == 0:
		next := unmet / growth
		return next, false, next >= minRate
	case math.IsInf(unmet, 1):
		// The realised rate is a whole number of requests, so it may fall a little short of the limit.
		return min(met*growth, s.plan.MaxRate), false, met < 0.99*s.plan.MaxRate
	case unmet/met-1 > max(s.plan.Precision, coarse):
		return math.Sqrt(met * unmet), false, true
	}
	rate, more = s.refine()
	return rate, true, more
}

// silent reports that every request of the last step failed: the instance is down or hangs, and lower rates would only
// prove it at the price of one timeout each.
func (s *Search) silent() bool {
	return len(s.steps) > 0 && s.steps[len(s.steps)-1].ErrorRatio == 1
}

func (s *Search) refine() (float64, bool) {
	e := s.estimate()
	if e.near >= minNear && e.upper-e.lower <= 2*s.plan.Precision*e.rate {
		return 0, false
	}
	side := 1 - spread
	if e.below > e.above {
		side = 1 + spread
	}
	return min(e.rate*side, s.plan.MaxRate), true
}

// bounds returns the highest rate that met the SLO (0 when none did) and the lowest that did not (+Inf when all did).
func (s *Search) bounds() (met, unmet float64) {
	unmet = math.Inf(1)
	for _, step := range s.steps {
		switch {
		case !step.Valid:
		case step.Met:
			met = max(met, step.Offered)
		default:
			unmet = min(unmet, step.Offered)
		}
	}
	return met, unmet
}

// Knee is what a search found.
type Knee struct {
	// Rate is the highest rate within the SLO in requests per second, Lower and Upper its 95 % interval.
	Rate, Lower, Upper float64
}

// InvalidError says why a search found no knee.
type InvalidError struct {
	// Reason is fit for a person.
	Reason string
}

// Error returns the reason.
func (e *InvalidError) Error() string { return e.Reason }

// Knee returns the estimate, or an *InvalidError: never a zero for an instance that did not answer.
func (s *Search) Knee() (Knee, error) {
	met, unmet := s.bounds()
	switch {
	case s.silent():
		return Knee{}, &InvalidError{fmt.Sprintf("the instance is down or hangs: all %d requests at %.2f requests/s failed",
			s.steps[len(s.steps)-1].Requests, s.steps[len(s.steps)-1].Offered)}
	case s.invalid >= maxInvalid || s.invalid > 0 && s.invalid == len(s.steps):
		worst := 0.0
		for _, step := range s.steps {
			worst = max(worst, step.MaxLag)
		}
		return Knee{}, &InvalidError{fmt.Sprintf("the load generator was the bottleneck: it lagged up to %.0f ms in %d of %d steps",
			worst*1e3, s.invalid, len(s.steps))}
	case len(s.steps) == 0:
		return Knee{}, &InvalidError{"no load level was held"}
	case met == 0:
		last := s.steps[len(s.steps)-1]
		return Knee{}, &InvalidError{fmt.Sprintf("no load level met the SLO: at %.2f requests/s %s broke it (latency %.3f s, error ratio %.3f)",
			last.Offered, last.Broken, last.Latency, last.ErrorRatio)}
	case math.IsInf(unmet, 1):
		// Nothing broke it. What was reached is a bound from below, and is safe to act upon.
		return Knee{Rate: met, Lower: met, Upper: met}, nil
	}
	e := s.estimate()
	return Knee{Rate: e.rate, Lower: e.lower, Upper: e.upper}, nil
}
