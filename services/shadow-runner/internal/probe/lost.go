package probe

import (
	"math"
	"time"
)

const (
	// maxLost instances in a search end it: what they carried until then is the answer.
	maxLost = 3
	// below is the share of the lowest rate that an instance was lost of which later levels stay under.
	below = 0.9
	// aftermath is how long after a level an instance may go away of it: platforms want some checks missed in a row, and a queue
	// that was left behind is worked off for long after those who asked have gone.
	aftermath = 30 * time.Second
)

// Lost tells the search that the instance went away while a level was held: step is what came of it until then, and after is the
// time since the end of the level before. When either was more than the instance carries it is taken for the reason, counts as a
// level that broke the SLO, and the search can go on with another instance. Otherwise the result is false: what went away at a
// level that it had carried, or while it answered well, was told to or had an accident, and the step is recorded as it is.
func (s *Search) Lost(step Step, after time.Duration) bool {
	last := s.last()
	switch {
	// What came of this level is what the one before, which was higher, had left behind.
	case after <= aftermath && last.Broken != BrokenLost && last.Offered >= step.Offered && s.overburdened(last):
		s.held++
	case s.overburdened(step):
		s.Record(step)
	default:
		s.Record(step)
		return false
	}
	s.lost++
	blamed := &s.steps[len(s.steps)-1]
	blamed.Broken, blamed.Silent = BrokenLost, false // the next one has its chance
	return true
}

// overburdened reports that a level broke the SLO above all that met it, by more than one bad moment. An instance that was never seen
// to answer may be one that hangs, at any load.
func (s *Search) overburdened(step Step) bool {
	const fewestBad = 3
	met, _ := s.bounds()
	bad := math.Round(max(step.ViolationRatio, step.ErrorRatio) * float64(step.Requests))
	return step.Valid && !step.Met && step.Offered > met && bad >= fewestBad && (met > 0 || step.Alive)
}

// ceiling is the highest rate that may be tried after an instance was lost, +Inf before.
func (s *Search) ceiling() float64 {
	ceiling := math.Inf(1)
	for _, t := range s.steps {
		if t.Broken == BrokenLost {
			ceiling = min(ceiling, below*t.Offered)
		}
	}
	return ceiling
}
