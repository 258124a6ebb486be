package policy

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// HoltWinters is the Predictive Horizontal Pod Autoscaler (jthomperoo): additive Holt-Winters smoothing of the replicas an
// HPA would hold, with a season of a day, and the larger of the prediction and the HPA.
type HoltWinters struct {
	floored
	smoothing   Smoothing
	capacityAim float64
	steps       slots
	learnt      int
	level       float64
	trend       float64
	season      []float64
}

// Smoothing are the weights of the newest value in level, trend and season.
type Smoothing struct{ Level, Trend, Season float64 }

// NewHoltWinters returns the policy; its replicas aim at the HPA's target.
func NewHoltWinters(c HPAConfig, s Smoothing) *HoltWinters {
	return &HoltWinters{floored: floored{NewHPA(c)}, smoothing: s, capacityAim: float64(c.TargetPercent) / 100}
}

// Name implements simulate.Policy.
func (p *HoltWinters) Name() string { return "PHPA Holt-Winters" }

// Decide implements simulate.Policy.
func (p *HoltWinters) Decide(o *simulate.Observation) int {
	p.steps.ticks = ticks(fiveMinutes, o)
	p.steps.take(o)
	const day = int(24 * time.Hour / fiveMinutes)
	for ; p.learnt < len(p.steps.done); p.learnt++ {
		p.learn(p.steps.done[p.learnt].mean()/(o.Config.Capacity*p.capacityAim), day)
	}
	if len(p.season) < day {
		return p.decide(o, 0)
	}
	// The step in which an instance ordered now is ready at the latest; the open step is the first not learnt.
	ahead := 2 + int((o.Config.Startup-1)/fiveMinutes)
	wish := p.level + float64(ahead)*p.trend + p.season[(p.learnt+ahead-1)%day]
	return p.decide(o, int(math.Ceil(math.Min(math.Max(wish, 0), math.MaxInt32))))
}

// learn takes in the replicas of one step; the first day is the first season.
func (p *HoltWinters) learn(replicas float64, day int) {
	if len(p.season) < day {
		p.season = append(p.season, replicas)
		if len(p.season) == day {
			for _, v := range p.season {
				p.level += v / float64(day)
			}
			for i := range p.season {
				p.season[i] -= p.level
			}
		}
		return
	}
	s := &p.season[p.learnt%day]
	before := p.level
	p.level = p.smoothing.Level*(replicas-*s) + (1-p.smoothing.Level)*(p.level+p.trend)
	p.trend = p.smoothing.Trend*(p.level-before) + (1-p.smoothing.Trend)*p.trend
	*s = p.smoothing.Season*(replicas-p.level) + (1-p.smoothing.Season)**s
}
