package scaling

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
)

// At is when the last decision was made that the state remembers; zero when there was none.
func (s State) At() time.Time { return s.at }

// Played is how much of the past the fleets on paper were played against, older parts counting less: what a budget and the
// guard against being worse than the HPA rest on.
func (s State) Played() time.Duration { return time.Duration(s.rivals.seen * float64(time.Second)) }

// Heading is the size that production is being moved to; nil when it is not.
func (s State) Heading() *Tried { return s.move.to }

// Resume is the state to go on with at the first decision after a restart, when s was written down before it and nobody decided
// in between. Whatever it remembers, the next decision does not shrink what runs:
//
//	what was needed          is forgotten: as far as anybody knows, what runs was needed until now
//	the HPA's fleet on paper is at least what runs, and as patient as at a start
//	the fleets on paper      go on where they were; after a gap longer than the HPA's patience they start from what runs
//	what they cost           has faded with the time that passed, which does not count as played
//	all of the fleets        are forgotten when the maximum is higher than it was and most of what the HPA violated is what it
//	                         forbade to serve: that all violated alike, and no risk would be better than the HPA for days
//	the day of demand        the same; the gap does not make it a longer day
//	the least demands        stay, and when the last outage was and next to nothing was left; one that began before the gap is
//	                         believed as soon as without it
//	a debt                   stays, and is repaid no sooner than one that began now
//	a move to another size   has as much time left as it had
//
// What is older than it speaks of is forgotten: the fleets after BudgetMemory, the day and the move after SizeMemory. A state
// from the future, by more than clocks differ, is a start without memory.
func (s State) Resume(in Input, now time.Time) State {
	c := in.Config.usable()
	gap := now.Sub(s.at)
	if s.at.IsZero() || gap < -clockSkew {
		return State{}
	}
	gap = max(0, gap)
	s.needs = nil
	if !s.indebted.IsZero() {
		s.indebted = now
	}
	s.resumeHPA(c, in.Instances, gap)
	s.rivals = s.rivals.resume(c, gap)
	s.loads = s.loads.resume(c.SizeMemory, gap)
	s.move = s.move.resume(c.SizeMemory, gap, now)
	return s
}

// resumeHPA has the HPA's fleet on paper begin with no less than what runs, and with an HPA's patience from now on.
func (s *State) resumeHPA(c Config, runs Instances, gap time.Duration) {
	s.hpa, s.hpaSynced = hpa.History{}, time.Time{}
	if s.hpaHolds == 0 {
		return // it was never known, and begins as at any start
	}
	current := min(max(runs.held(), c.MinInstances), c.MaxInstances)
	if gap > c.HPA.DownHold {
		s.hpaHolds, s.hpaFleet, s.hpaSeen = current, []cohort{{count: current}}, nil
		return
	}
	if more := current - s.hpaHolds; more > 0 {
		s.hpaHolds, s.hpaFleet = current, append([]cohort{{count: more}}, s.hpaFleet...)
	}
}

func (v rivals) resume(c Config, gap time.Duration) rivals {
	if gap > c.BudgetMemory || c.MaxInstances > v.most && v.beyond > v.hpa.violated/2 {
		return rivals{}
	}
	keep := math.Exp(-gap.Seconds() / max(c.BudgetMemory.Seconds(), 1e-9))
	v.at = time.Time{}
	v.seen *= keep
	v.real *= keep
	v.beyond *= keep
	v.hpa = v.hpa.resume(c, gap, keep)
	for m := range v.own {
		for i := range v.own[m] {
			v.own[m][i] = v.own[m][i].resume(c, gap, keep)
		}
	}
	return v
}

func (r rival) resume(c Config, gap time.Duration, keep float64) rival {
	r.spent *= keep
	r.violated *= keep
	r.strained *= keep
	r.acted *= keep
	if gap > c.HPA.DownHold {
		r.holds, r.needs, r.low = 0, nil, nil
	}
	return r
}

// resume leaves the loads as they are but for when they began: push lets them fade.
func (l *loads) resume(memory, gap time.Duration) *loads {
	if l == nil || gap > memory {
		return nil
	}
	next := *l
	next.since = l.since.Add(gap)
	return &next
}

func (m move) resume(memory, gap time.Duration, now time.Time) move {
	if gap > memory {
		return move{}
	}
	if m.to != nil {
		m.since = m.since.Add(gap)
	}
	if latest := now.Add(memory); m.quiet.After(latest) {
		m.quiet = latest
	}
	return m
}
