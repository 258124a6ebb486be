package scaling

import (
	"math"
	"time"
)

const (
	// outageShare is the share of the least demand of a long past below which a demand is no ebb but a failure on the way here.
	outageShare = 0.5
	// lostShare is the share of it below which that is beyond doubt.
	lostShare = 0.15
	// outagePast is how many times as long as an outage is believed to last that past is: a week for two hours, since demand may
	// fall on working days only. At least outageSeen of it must have been seen.
	outagePast, outageSeen = 84, 6
	// outageSpans is how many spans of the least demand there are in the time an outage is believed to last.
	outageSpans = 2
	// setAside is the share of what the HPA would have spent that is not spent on waiting for the end of an outage.
	setAside = 0.02
)

// ebbs are the least demands of past spans of time, oldest first. They are never changed.
type ebbs struct {
	past []ebb
	now  ebb // of the running span; no time when there is none
}

type ebb struct {
	from  time.Time
	least float64
}

// push returns the ebbs with one more demand, without those too old to count.
func (e ebbs) push(rate float64, now time.Time, outage time.Duration) ebbs {
	if outage <= 0 {
		return ebbs{}
	}
	if e.now.from.IsZero() || now.Before(e.now.from) {
		return ebbs{now: ebb{now, rate}}
	}
	if now.Sub(e.now.from) < outage/outageSpans {
		e.now.least = math.Min(e.now.least, rate)
		return e
	}
	old := 0
	for old < len(e.past) && now.Sub(e.past[old].from) > outagePast*outage {
		old++
	}
	kept := make([]ebb, 0, len(e.past)-old+1)
	e.past = append(append(kept, e.past[old:]...), e.now)
	e.now = ebb{now, rate}
	return e
}

// low is the least demand of the time before the last outage's worth of it; 0 when too little of that was seen. What fell
// longer ago than an outage is believed to last lowers it, and is believed from then on.
func (e ebbs) low(now time.Time, outage time.Duration) float64 {
	least := math.Inf(1)
	for _, p := range e.past {
		if now.Sub(p.from) >= outage {
			least = math.Min(least, p.least)
		}
	}
	if len(e.past) == 0 || math.IsInf(least, 1) || now.Sub(e.past[0].from) < outageSeen*outage {
		return 0
	}
	return least
}

// watch tells an ebb from an outage. Users do not leave all at once: a load balancer, a provider or a dependency has failed,
// and when it is back they all are, long before instances could be. Or, while there are still some, they have left for good: who
// set a budget pays for that wait with what was saved before. An outage takes minutes to come and to go: the moment an ebb begins
// renews the memory of what was needed, and what was next to nothing a moment ago is on its way back. Users who stay away for a
// known event are counted as if they were there; when none are to come, there is nothing to tell one by.
func (d *decider) watch(rate float64) {
	away := d.in.Forecast.Away
	if away >= 1 {
		d.state.ebbing = false
		return
	}
	if away > 0 {
		rate /= 1 - away
	}
	d.state.ebbs = d.state.ebbs.push(rate, d.now, d.c.Outage)
	low := d.state.ebbs.low(d.now, d.c.Outage)
	begins := !d.state.ebbing
	d.state.ebbing = rate < outageShare*low
	if !d.state.ebbing {
		return
	}
	if rate < lostShare*low {
		d.state.lost = d.now
	}
	saved := -d.state.rivals.owes(d.c, float64(d.current)*d.c.DownHold.Seconds())
	if begins || saved > setAside || d.now.Sub(d.state.lost) <= d.c.DownHold {
		d.outage, d.state.outage = true, d.now
		d.out.Evidence.Ebb = low
	}
}
