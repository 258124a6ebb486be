package simulate

import (
	"math"
	"time"
)

// Result is what a policy achieved. Shares are of the scored ticks.
type Result struct {
	Policy          string
	Requests        float64 // offered
	Violated        float64 // met no ready capacity or more utilization than the SLO allows
	Refused         float64 // of those, never served
	InstanceSeconds float64 // ready and starting
	// Elasticity metrics of SPEC RG (Herbst et al. 2016): accuracy is the mean shortage or surplus relative to the need,
	// timeshare the share of time in it.
	UnderAccuracy, OverAccuracy   float64
	UnderTimeshare, OverTimeshare float64
	Actions                       int // changes of the instances wanted
	ActionsPerDay                 float64
	ScaleUps                      []ScaleUp
	// Per tick.
	Ready   []int32
	Desired []int32
	Need    []int32 // within the SLO; -1 where demand is not known
}

// ViolatedShare is the share of requests violated.
func (r Result) ViolatedShare() float64 {
	if r.Requests == 0 {
		return 0
	}
	return r.Violated / r.Requests
}

// ScaleUp is one order of instances.
type ScaleUp struct {
	Tick     int
	From, To int
	// Lead is how long the new instances were ready before the demand needed more than From; negative when they were
	// late. Needed is false when it never did before the instances were released.
	Lead   time.Duration
	Needed bool
}

// tally is one tick.
type tally struct {
	tick              int
	requests, refused float64
	violated          bool
	need, ready       int
	total             int
}

type score struct {
	r      Result
	from   int // first tick that counts
	scored int
	paid   int // instances, summed over ticks
}

func newScore(n, from int) score {
	return score{from: from, r: Result{Ready: make([]int32, 0, n), Desired: make([]int32, 0, n), Need: make([]int32, 0, n)}}
}

func (s *score) scaled(tick, from, to int) {
	if from == to || tick < s.from {
		return
	}
	s.r.Actions++
	if to > from {
		s.r.ScaleUps = append(s.r.ScaleUps, ScaleUp{Tick: tick, From: from, To: to})
	}
}

func (s *score) unknown(tick, ready, total int) {
	s.r.Ready = append(s.r.Ready, int32(ready))
	s.r.Desired = append(s.r.Desired, int32(total))
	s.r.Need = append(s.r.Need, -1)
	if tick >= s.from {
		s.paid += total
	}
}

func (s *score) served(t tally) {
	s.r.Ready = append(s.r.Ready, int32(t.ready))
	s.r.Desired = append(s.r.Desired, int32(t.total))
	s.r.Need = append(s.r.Need, int32(t.need))
	if t.tick < s.from {
		return
	}
	s.paid += t.total
	s.scored++
	s.r.Requests += t.requests
	s.r.Refused += t.refused
	if t.violated {
		s.r.Violated += t.requests
	}
	relative := float64(t.need-t.ready) / float64(max(t.need, 1))
	if t.need > t.ready {
		s.r.UnderAccuracy += relative
		s.r.UnderTimeshare++
	}
	if t.ready > t.need {
		s.r.OverAccuracy -= relative
		s.r.OverTimeshare++
	}
}

func (s *score) finish(policy string, c Config) Result {
	r := s.r
	r.Policy = policy
	r.InstanceSeconds = float64(s.paid) * c.Tick.Seconds()
	if s.scored > 0 {
		n := float64(s.scored)
		r.UnderAccuracy /= n
		r.OverAccuracy /= n
		r.UnderTimeshare /= n
		r.OverTimeshare /= n
	}
	if days := float64(len(r.Desired)-s.from) * c.Tick.Hours() / 24; days > 0 {
		r.ActionsPerDay = float64(r.Actions) / days
	}
	startup := ticks(c.Startup, c.Tick)
	for i := range r.ScaleUps {
		r.lead(&r.ScaleUps[i], startup, c.Tick)
	}
	return r
}

// lead finds when the demand first needed more than there was before the order.
func (r Result) lead(u *ScaleUp, startup int, tick time.Duration) {
	needed := -1
	if int(r.Need[u.Tick]) > u.From {
		for needed = u.Tick; needed > 0 && int(r.Need[needed-1]) > u.From && int(r.Ready[needed-1]) <= u.From; needed-- {
		}
	} else {
		for t := u.Tick; t < len(r.Need) && int(r.Desired[t]) > u.From; t++ {
			if int(r.Need[t]) > u.From {
				needed = t
				break
			}
		}
	}
	if needed < 0 {
		return
	}
	u.Needed = true
	u.Lead = time.Duration(needed-u.Tick-startup) * tick
}

// MeanLead is the mean over the scale-ups that the demand came to need; false when there is none.
func (r Result) MeanLead() (time.Duration, bool) {
	total, n := 0.0, 0
	for _, u := range r.ScaleUps {
		if u.Needed {
			total += u.Lead.Seconds()
			n++
		}
	}
	if n == 0 {
		return 0, false
	}
	return time.Duration(math.Round(total / float64(n) * float64(time.Second))), true
}
