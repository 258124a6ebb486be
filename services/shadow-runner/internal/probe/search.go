package probe

import (
	"fmt"
	"math"
	"slices"
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
	// Precision is how narrow the 95 % interval is to be, from end to end, as a share of the estimate.
	Precision float64
	// MaxSteps bounds the levels held now; those of Before do not count.
	MaxSteps int
	// Before are the steps of an earlier search of the same instances under the same mix, which this one goes on from.
	Before []Step
	// Settle and Hold are how long a level is held before it counts, and how long it then counts.
	Settle, Hold time.Duration
}

// Level is a rate to hold, and for how long.
type Level struct {
	// Rate in requests per second.
	Rate float64
	// Settle is held first and does not count; Hold then counts.
	Settle, Hold time.Duration
	// Shape, when it is not empty, is how the rate changes over Hold: its values, in any unit, are scaled to a mean of Rate.
	Shape []float64
}

// Search is one search for the knee. It is not safe for concurrent use.
type Search struct {
	plan    Plan
	steps   []Step // those of before included
	held    int
	invalid int
	lost    int   // instances
	level   Level // the latest
	suspect bool  // an instance died of it at once, and it is to be held once more
	lagged  int   // levels that are not valid, of which instances were lost; not among the invalid
}

const (
	growth = 2.0
	// chance is the share of the highest rate that met the SLO at which an instance that fell silent is tried again.
	chance = 0.9
	// minRate ends the way down: an instance that cannot carry one request in four seconds has no useful knee.
	minRate = 0.25
	// maxInvalid steps in a search end it, when they are a third of all.
	maxInvalid = 3
	// coarse is how narrow bisecting makes the bracket: below it one verdict is mostly luck.
	coarse = 0.3
	// spread is how far from the estimate refine holds its levels, in turn below and above. Levels at one single rate
	// would leave the slope, and with it the interval, unknown. Where verdicts still leave a gap, it is spreadInGap of that.
	// Levels nearer by that follow once the slope is known.
	spread, nearSpread, spreadInGap = 0.05, 0.03, 0.2
	// fewest requests a level holds, unless that takes more than maxStretch times as long as planned.
	fewest     = 20
	maxStretch = 5
	// refineHold times as long as others are the levels that refine holds, up to maxRefineHold as they become more: a queue
	// takes seconds to become as long as it will be near the knee, and a short step sees it too short. For the same reason
	// refineSettle of such a level does not count.
	refineHold, maxRefineHold = 2, 6
	refineSettle              = 0.3
	// minNear steps near the knee are held before the interval is believed.
	minNear = 8
)

// NewSearch begins a search.
func NewSearch(plan Plan) *Search {
	plan.Start = min(max(plan.Start, minRate), plan.MaxRate)
	return &Search{plan: plan, steps: slices.Clone(plan.Before)}
}

// Steps are the levels recorded so far, in the order they were held, those of before and those that are not valid included.
func (s *Search) Steps() []Step { return s.steps }

// Record adds a level that was held.
func (s *Search) Record(step Step) {
	s.held++
	s.suspect = false
	if !step.Valid {
		s.invalid++
	}
	s.steps = append(s.steps, step)
}

// Next returns the level to hold next; false when the search is over.
func (s *Search) Next() (Level, bool) {
	rate, refine, more := s.next()
	if more && s.suspect {
		return s.level, true
	}
	rate = min(rate, s.ceiling())
	// A tail needs requests: a slow level is held until it has a few.
	level := Level{Rate: rate, Settle: s.plan.Settle, Hold: max(s.plan.Hold, min(time.Duration(fewest/rate*float64(time.Second)), maxStretch*s.plan.Hold))}
	if refine > 0 {
		level.Hold *= time.Duration(refine)
		level.Settle = max(level.Settle, time.Duration(refineSettle*float64(level.Hold)))
	}
	s.level = level
	return level, more
}

// next returns a rate and, when that is to refine the estimate, how many times as long it is to be held.
func (s *Search) next() (rate float64, refine int, more bool) {
	left := s.plan.MaxSteps - s.held
	if left <= 0 || s.lost >= maxLost || s.outpaced() || s.silent() {
		return 0, 0, false
	}
	met, unmet := s.bounds()
	tooHigh := min(unmet, s.unjudged())
	switch {
	case s.last().Silent && met > 0:
		return met * chance, 0, true
	case met == 0 && math.IsInf(tooHigh, 1):
		return s.plan.Start, 0, true
	case met == 0:
		next := tooHigh / growth
		if s.last().Broken == BrokenLost {
			next /= growth // another instance may be lost of each level on the way down
		}
		return next, 0, next >= minRate
	case s.capped(met, unmet):
		return 0, 0, false
	case tooHigh < unmet:
		return math.Sqrt(met * tooHigh), 0, true
	case math.IsInf(unmet, 1):
		return min(met*growth, s.plan.MaxRate), 0, !s.topped(met)
	case unmet/met-1 > max(s.plan.Precision, coarse):
		return math.Sqrt(met * unmet), 0, true
	}
	e := s.estimate()
	if s.precise(e) || left <= 2 { // two, so that one that falls silent has its chance
		if over := overload * e.rate; !s.overloaded(e.rate) && over <= min(s.plan.MaxRate, s.ceiling()) {
			return over, 0, true
		}
	}
	if s.precise(e) {
		return ease * e.rate, 0, !s.eased(e.rate)
	}
	return s.refine(e), min(refineHold+e.near/2, maxRefineHold), true
}

// topped reports that no higher rate may be tried. The realised rate is a whole number of requests, so it may fall a little short.
func (s *Search) topped(met float64) bool { return met >= 0.99*s.plan.MaxRate }

// outpaced reports that the generator cannot keep its schedule.
func (s *Search) outpaced() bool { return s.invalid >= maxInvalid && 3*s.invalid >= s.held }

// silent reports that the instance fell silent and nothing since shows it alive: it is down or hangs. One that fell silent at a
// rate above what it carries may only have been flooded, and is given another chance.
func (s *Search) silent() bool {
	last, met := s.last(), 0.0
	for _, t := range s.steps {
		if t.Valid && t.Met {
			met = max(met, t.Offered)
		}
	}
	return last.Silent && (last.Offered <= met || met == 0 && last.ErrorRatio == 1 && !last.Alive)
}

// last is the latest step of this search.
func (s *Search) last() Step {
	if s.held == 0 {
		return Step{}
	}
	return s.steps[len(s.steps)-1]
}

// overload is how far above the knee one level is held in the end, where none was, to see what runs out.
const overload = 2.0

// overloaded: a level that completed nearly all of its requests, of an instance that breaks its SLO long before it is used up, was
// not high enough.
func (s *Search) overloaded(knee float64) bool {
	return slices.ContainsFunc(s.steps, func(t Step) bool {
		return t.Valid && !t.Met && (t.Offered >= overloaded*knee && saturates(t) || t.Offered >= 0.95*overload*knee)
	})
}

// ease is how far below the knee one level is held in the end, where none as low as atEase was: what an instance uses without
// need is what its use under too much load is held against.
const ease, atEase = 0.5, 0.75

func (s *Search) eased(knee float64) bool {
	return slices.ContainsFunc(s.steps, func(t Step) bool { return t.Valid && t.Met && t.Offered <= atEase*knee })
}

func (s *Search) precise(e estimate) bool {
	return e.near >= minNear && e.upper-e.lower <= s.plan.Precision*e.rate
}

func (s *Search) refine(e estimate) (rate float64) {
	away := spread
	if e.near >= closeEnough {
		away = nearSpread
	}
	if met, unmet := s.bounds(); unmet > met {
		away = min(away, spreadInGap*(unmet/met-1))
	}
	if e.below > e.above {
		away = -away
	}
	return min(e.rate*(1-away), s.plan.MaxRate)
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
	// Precise says that the interval is as narrow as planned; otherwise more steps are wanted. A bound from below is precise at the
	// highest rate that may be tried: no more can be had. That is also where an instance was lost of more while the generator lagged.
	Precise bool
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
	// What was carried until an instance was lost is an answer, whatever the generator could do after that.
	carried := s.lost > 0 && met > 0
	lagged := s.invalid + s.lagged
	switch {
	case s.last().Silent && (s.silent() || s.held >= s.plan.MaxSteps):
		return Knee{}, &InvalidError{fmt.Sprintf("the instance is down or hangs: in the end all requests failed at %.2f requests/s, %.0f %% of %d in all",
			s.last().Offered, s.last().ErrorRatio*100, s.last().Requests)}
	case !carried && (s.outpaced() || lagged > 0 && lagged == s.held):
		worst := 0.0
		for _, step := range s.steps {
			worst = max(worst, step.MaxLag)
		}
		return Knee{}, &InvalidError{fmt.Sprintf("the load generator was the bottleneck: it lagged up to %.0f ms in %d of %d steps",
			worst*1e3, lagged, s.held)}
	case len(s.steps) == 0:
		return Knee{}, &InvalidError{"no load level was held"}
	case met == 0:
		last := s.steps[len(s.steps)-1]
		return Knee{}, &InvalidError{fmt.Sprintf("no load level met the SLO: at %.2f requests/s %s broke it (latency %.3f s, error ratio %.3f)",
			last.Offered, last.Broken, last.Latency, last.ErrorRatio)}
	case math.IsInf(unmet, 1), s.capped(met, unmet):
		// Nothing broke it so far. What was reached is a bound from below, and is safe to act upon.
		return Knee{Rate: met, Lower: met, Upper: met, Precise: s.topped(met) || s.capped(met, unmet)}, nil
	}
	e := s.estimate()
	return Knee{Rate: e.rate, Lower: e.lower, Upper: max(e.rate, min(e.upper, s.deadly())), Precise: s.precise(e)}, nil
}
