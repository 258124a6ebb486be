package policy

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// floored is an HPA whose minimum moves: how schedules and predictions are combined with it in practice.
type floored struct{ *HPA }

func (f floored) decide(o *simulate.Observation, floor int) int {
	at := *o
	at.Config.Min = min(max(floor, at.Config.Min), at.Config.Max)
	return f.Decide(&at)
}

// slots are means and peaks of the rate over fixed stretches of time, for policies that work on a coarser clock.
type slots struct {
	ticks int // per slot
	seen  int // ticks taken in
	open  slot
	done  []slot
}

type slot struct {
	sum, peak float64
	count     int
}

// ticks returns how many ticks a stretch of time has, at least one.
func ticks(d time.Duration, o *simulate.Observation) int { return max(1, int(d/o.Config.Tick)) }

// take adds every rate of o not yet seen.
func (s *slots) take(o *simulate.Observation) {
	for ; s.seen < len(o.Rates); s.seen++ {
		if v := o.Rates[s.seen]; v >= 0 {
			s.open.sum += v
			s.open.count++
			s.open.peak = max(s.open.peak, v)
		}
		if (s.seen+1)%s.ticks == 0 {
			s.done = append(s.done, s.open)
			s.open = slot{}
		}
	}
}

func (s slot) mean() float64 {
	if s.count == 0 {
		return 0
	}
	return s.sum / float64(s.count)
}

// back returns the closed slot that lies n slots before the open one; false when nothing was measured in it.
func (s *slots) back(n int) (slot, bool) {
	i := len(s.done) - n
	if i < 0 || i >= len(s.done) || s.done[i].count == 0 {
		return slot{}, false
	}
	return s.done[i], true
}
