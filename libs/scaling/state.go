package scaling

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
)

// State is what Decide remembers of one workload between decisions. The zero value is a start without memory. It is
// immutable: Decide returns the next one.
type State struct {
	at        time.Time // of the last decision
	needs     peaks     // of what the decision needed
	reactive  peaks     // of what the demand alone needed
	hpa       hpa.History
	hpaHolds  int      // instances the HPA would hold, had it been in charge
	hpaFleet  []cohort // they, oldest first
	hpaSeen   []glance // what they met, oldest first
	hpaSynced time.Time
	rivals    rivals
	ebbs      ebbs
	outage    time.Time // when the demand was last too low to be true
	ebbing    bool      // it is below what is calm
	lost      time.Time // when next to nothing of it was last left
	indebted  time.Time // since when more was spent than the HPA would have; zero when it was not
	loads     *loads    // nil without prices
	move      move
}

// peaks is a moving maximum: entries of falling need and rising time.
type peaks []peak

type peak struct {
	at   time.Time
	need int
}

// push returns the peaks with a new need, without those older than hold; the first entry is the maximum.
func (p peaks) push(need int, now time.Time, hold time.Duration) peaks {
	room := make(peaks, 0, len(p)+1)
	return p.pushInto(&room, need, now, hold)
}

// pushInto is push with the peaks it returns laid into room, behind what is there.
func (p peaks) pushInto(room *peaks, need int, now time.Time, hold time.Duration) peaks {
	start := 0
	for start < len(p) && now.Sub(p[start].at) > hold {
		start++
	}
	end := len(p)
	for end > start && p[end-1].need <= need {
		end--
	}
	from := len(*room)
	*room = append(append(*room, p[start:end]...), peak{now, need})
	return (*room)[from:len(*room):len(*room)]
}

// max returns the highest need remembered, zero when none is.
func (p peaks) max() int {
	if len(p) == 0 {
		return 0
	}
	return p[0].need
}

// stepHPA lets the virtual HPA see the load. It runs a fleet of its own: the work production does, spread over as many
// instances as the HPA would hold by now. False while the utilization has never been known.
func (s *State) stepHPA(in Input, c Config, now time.Time) bool {
	u := in.Utilization
	ready := in.Instances.Ready
	fresh := known(u.Share) && ready > 0 && now.Sub(u.At).Abs() <= c.DemandMaxAge
	if s.hpaHolds == 0 {
		if !fresh {
			return false
		}
		// What is starting was asked for: it takes over what runs as it finds it.
		s.hpaHolds = min(max(in.Instances.held(), c.MinInstances), c.MaxInstances)
		s.hpaFleet = []cohort{{count: s.hpaHolds}}
	}
	if !fresh || (!s.hpaSynced.IsZero() && now.Sub(s.hpaSynced) < c.HPA.Sync) {
		return true
	}
	over := float64(ready)
	if known(u.Instances) && u.Instances > 0 {
		over = u.Instances
	}
	wish := s.hpaWish(c, in.startup(c), loaded{at: u.At, now: now, window: c.HPA.MetricWindow, load: u.Share * over})
	behavior := hpa.DefaultBehavior()
	behavior.Down.Stabilization = c.HPA.DownHold
	rules := hpa.Rules{Min: c.MinInstances, Max: c.MaxInstances, Behavior: &behavior}
	before := s.hpaHolds
	s.hpaHolds, s.hpa = rules.Normalize(s.hpa, s.hpaHolds, wish, now)
	s.hpaFleet = resize(s.hpaFleet, s.hpaHolds-before, now)
	s.hpaSynced = now
	return true
}
