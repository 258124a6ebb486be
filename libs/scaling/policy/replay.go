package policy

import (
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Replay is Crane's effective HPA with its DSP predictor: where the demand repeats with a period, the last period is
// expected again, with a margin; the HPA rules where it does not or the HPA wants more. The period is a day when the last
// days agree with each other, as Crane's test on the autocorrelation asks.
type Replay struct {
	floored
	target, margin float64
	minutes        slots
	periodic       bool
	checked        int // slots when periodicity was last tested
}

// NewReplay returns Crane's policy; its margin is 0.15 by default.
func NewReplay(c HPAConfig, target, margin float64) *Replay {
	return &Replay{floored: floored{NewHPA(c)}, target: target, margin: margin}
}

// Name implements simulate.Policy.
func (p *Replay) Name() string { return "Crane replay" }

const fiveMinutes = 5 * time.Minute

// Decide implements simulate.Policy.
func (p *Replay) Decide(o *simulate.Observation) int {
	p.minutes.ticks = ticks(fiveMinutes, o)
	p.minutes.take(o)
	const day = int(24 * time.Hour / fiveMinutes)
	if n := len(p.minutes.done); n >= 2*day && n-p.checked >= day {
		p.periodic, p.checked = autocorrelation(p.minutes.done[n-2*day:], day) > 0.5, n
	}
	floor := 0
	if p.periodic {
		peak := 0.0
		for ahead := 0; ahead <= 1+int(o.Config.Startup/fiveMinutes); ahead++ {
			if s, ok := p.minutes.back(day - ahead); ok {
				peak = max(peak, s.mean())
			}
		}
		floor, _ = instances(peak*(1+p.margin), o.Config.Capacity*p.target)
	}
	return p.decide(o, floor)
}

// autocorrelation compares the slots with those a lag later.
func autocorrelation(s []slot, lag int) float64 {
	mean := 0.0
	for _, v := range s {
		mean += v.mean() / float64(len(s))
	}
	var cross, before, after float64
	for i := lag; i < len(s); i++ {
		a, b := s[i-lag].mean()-mean, s[i].mean()-mean
		cross += a * b
		before += a * a
		after += b * b
	}
	if before == 0 || after == 0 {
		return 0
	}
	return cross / math.Sqrt(before*after)
}

func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
