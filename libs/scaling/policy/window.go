package policy

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Window is Autopilot's horizontal recommender (Rzadca et al., EuroSys 2020): the peak of five-minute means over a moving
// window, at a target utilization.
type Window struct {
	target float64
	window time.Duration
	steps  slots
}

// NewWindow returns the policy; Autopilot's windows are hours to days.
func NewWindow(target float64, window time.Duration) *Window {
	return &Window{target: target, window: window}
}

// Name implements simulate.Policy.
func (p *Window) Name() string { return "Autopilot window" }

// Decide implements simulate.Policy.
func (p *Window) Decide(o *simulate.Observation) int {
	p.steps.ticks = ticks(fiveMinutes, o)
	p.steps.take(o)
	peak := p.steps.open.mean()
	known := p.steps.open.count > 0
	for n := 1; n <= int(p.window/fiveMinutes); n++ {
		if s, ok := p.steps.back(n); ok {
			peak, known = max(peak, s.mean()), true
		}
	}
	wish, ok := instances(peak, o.Config.Capacity*p.target)
	if !ok || !known {
		return o.Desired
	}
	return wish
}
