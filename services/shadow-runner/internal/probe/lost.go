package probe

import (
	"math"
	"time"
)

const (
	// maxLost instances in a search end it: what they carried until then is the answer.
	maxLost = 3
	// below is the share of the lowest rate that an instance was lost of which later levels stay under; one that carried almost that
	// much of it cannot be told to carry more.
	below, almost = 0.9, 0.95
	// Aftermath is how long after a level an instance may go away of it: platforms give one that answers no check 30 s and notice at
	// the next check, and a queue that was left behind is worked off for long after those who asked have gone.
	Aftermath = 45 * time.Second
	// fewestMissed requests are more than one bad moment.
	fewestMissed = 3
)

// JudgeLost is Judge of a level during which the instance went away, and was seen to have so long after the start of the step. What
// was due too late to be answered in time before that says nothing of the load, nor does the lag of the generator then. Where it
// lagged earlier, what was due too late to be answered before that is left out as well: an instance that had too much until then did
// not have it from the generator. Otherwise the step is not valid, as any in which it lags.
func JudgeLost(samples []Sample, w Window, slo SLO, left time.Duration) Step {
	left = min(left, died(samples, slo)) // a platform notices late
	step := Judge(samples, w.until(left-slo.Latency), slo)
	if step.Valid {
		step.Sudden = !step.Missed() && failedFrom(samples, left-slo.Latency) >= fewestMissed
		return step
	}
	if before := Judge(samples, w.until(min(left, firstLag(samples, slo))-slo.Latency), slo); before.Valid && !before.Met && before.bad() >= fewestMissed {
		return before
	}
	return step
}

// JudgeSilent is Judge of a level at whose end the instance may have died with nobody there to say so yet: when it answered as it
// should until it refused all at once, the step is Sudden and holds what came before.
func JudgeSilent(samples []Sample, w Window, slo SLO) Step {
	if lost := JudgeLost(samples, w, slo, math.MaxInt64); lost.Sudden {
		return lost
	}
	return Judge(samples, w, slo)
}

// died is when the first request was due from which on all were refused or cut off, before they could be late: what has no process
// any more does that, and not what has too much to do. It is never when those are too few to tell.
func died(samples []Sample, slo SLO) time.Duration {
	first := len(samples)
	for first > 0 && samples[first-1].Refused && samples[first-1].Latency <= slo.Latency {
		first--
	}
	if len(samples)-first < fewestMissed {
		return math.MaxInt64
	}
	return samples[first].Due
}

// failedFrom is how many requests failed of those due at a moment or later.
func failedFrom(samples []Sample, from time.Duration) int {
	n := 0
	for _, s := range samples {
		if s.Due >= from && (s.Failed || s.Unanswered) {
			n++
		}
	}
	return n
}

// until ends a window early. When that is before the part that counts the rest has to.
func (w Window) until(end time.Duration) Window {
	w.End = min(w.End, end)
	if w.End <= w.Start {
		w.Start = 0
	}
	return w
}

// firstLag is when the first request was due that was sent too late, the settling included: what piled up then is felt later.
func firstLag(samples []Sample, slo SLO) time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, s := range samples {
		if s.Lag.Seconds() > lagShare*slo.Latency.Seconds() {
			first = min(first, s.Due)
		}
	}
	return first
}

// Lost tells the search that the instance went away while a level was held: step is what came of it until then, by JudgeLost, and
// after is the time since the end of the level before. When either was more than the instance carries it is taken for the reason,
// counts as a level that broke the SLO, and the search can go on with another instance. Where the generator lagged it does not
// count, for that may have been what broke it; the search goes on, and tries it no more. One that answered well until it died
// may have had an accident: the level counts for nothing and is held once more, and when another dies of it that is the reason.
// Otherwise the result is false: what went away at a level that it had carried, or with no request the worse for it, was told to or
// had an accident, and the step is recorded as it is.
func (s *Search) Lost(step Step, after time.Duration) bool {
	last := s.last()
	switch {
	// What came of this level is what the one before, which was higher, had left behind.
	case after <= Aftermath && last.Broken != BrokenLost && last.Offered >= step.Offered && s.overburdened(last):
		s.held++
	case s.overburdened(step), s.suspect && step.Sudden && s.above(step):
		s.Record(step)
	case !s.suspect && step.Sudden:
		step.Met, step.Valid, step.Broken = false, false, BrokenOnce
		s.steps = append(s.steps, step)
		s.held, s.lost, s.suspect = s.held+1, s.lost+1, true
		return true
	default:
		s.Record(step)
		return false
	}
	s.blame()
	return true
}

// Flooded reports that the instance has been silent since a level of more than it carries. A search that is over then may go on once
// the platform has replaced the instance, which may take it Aftermath.
func (s *Search) Flooded() bool {
	first := s.silentFrom()
	return first < len(s.steps) && s.overburdened(s.steps[first])
}

// LostSilent tells a search that is Flooded that the instance went away. The level since which it was silent counts as in Lost; what
// was held after that was held by nobody and is left out.
func (s *Search) LostSilent() {
	s.steps = s.steps[:s.silentFrom()+1]
	s.blame()
}

// silentFrom is the first of the steps at the end in which the instance fell silent; their number when it did not in the last.
func (s *Search) silentFrom() int {
	first := len(s.steps)
	for first > 0 && s.steps[first-1].Silent {
		first--
	}
	return first
}

// blame takes the last step for what the instance was lost of. The next one has its chance.
func (s *Search) blame() {
	s.lost, s.suspect = s.lost+1, false
	blamed := &s.steps[len(s.steps)-1]
	*blamed = blamed.Lost()
	if !blamed.Valid && s.invalid > 0 { // it may be of the search before
		s.invalid, s.lagged = s.invalid-1, s.lagged+1
	}
}

// overburdened reports that a level broke the SLO above all that met it, by more than one bad moment. An instance that was never seen
// to answer may be one that hangs, at any load.
func (s *Search) overburdened(step Step) bool {
	met, _ := s.bounds()
	return step.Missed() && s.above(step) && (met > 0 || step.Alive)
}

// above reports that a level is higher than all that met the SLO.
func (s *Search) above(step Step) bool {
	met, _ := s.bounds()
	return step.Offered > met
}

// Suspects reports that an instance died at the level that is to be held next, which may have been an accident.
func (s *Search) Suspects() bool { return s.suspect }

// Lost is the step as one that the instance was lost of.
func (t Step) Lost() Step {
	t.Met, t.Broken, t.Silent, t.Sudden = false, BrokenLost, false, false
	return t
}

// Missed reports that the SLO was broken by more than one bad moment.
func (t Step) Missed() bool { return !t.Met && t.bad() >= fewestMissed }

// bad is how many requests failed or took too long.
func (t Step) bad() float64 {
	return math.Round(max(t.ViolationRatio, t.ErrorRatio) * float64(t.Requests))
}

// ceiling is the highest rate that may be tried after an instance was lost, +Inf before.
func (s *Search) ceiling() float64 { return below * s.lowestLost(func(Step) bool { return true }) }

// unjudged is the lowest rate of which only the loss is known, for the generator lagged or the instance had answered well, +Inf when
// there is none.
func (s *Search) unjudged() float64 {
	return s.lowestLost(func(t Step) bool { return !t.Valid || t.bad() < fewestMissed })
}

// deadly is the lowest rate that is known to be too much for an instance to survive, +Inf when there is none.
func (s *Search) deadly() float64 { return s.lowestLost(func(t Step) bool { return t.Valid }) }

func (s *Search) lowestLost(counts func(Step) bool) float64 {
	lowest := math.Inf(1)
	for _, t := range s.steps {
		if t.Broken == BrokenLost && counts(t) {
			lowest = min(lowest, t.Offered)
		}
	}
	return lowest
}

// capped reports that nothing above the highest rate that met the SLO may be tried, though no latency or errors are known to break it
// there.
func (s *Search) capped(met, unmet float64) bool {
	rate := s.unjudged()
	return rate <= unmet && met >= almost*below*rate
}
