package policy

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Cron is an HPA with a schedule of minimums, as with KEDA's cron scaler: for every hour of the day what the hour took on
// the median of the last days. Whoever keeps such a schedule renews it by looking at those days.
type Cron struct {
	floored
	share float64
	hours slots
}

// NewCron returns an HPA whose hourly minimum is a share of what the hour took on the median of the last seven days.
func NewCron(c HPAConfig, share float64) *Cron {
	return &Cron{floored: floored{NewHPA(c)}, share: share}
}

// Name implements simulate.Policy.
func (p *Cron) Name() string { return "HPA + cron" }

// Decide implements simulate.Policy.
func (p *Cron) Decide(o *simulate.Observation) int {
	p.hours.ticks = ticks(time.Hour, o)
	p.hours.take(o)
	var peaks []float64
	for day := 1; day <= 7; day++ {
		if s, ok := p.hours.back(24 * day); ok {
			peaks = append(peaks, s.peak)
		}
	}
	floor := 0
	if len(peaks) > 0 {
		floor, _ = instances(p.share*median(peaks), o.Config.Capacity*o.Config.MaxUtilization)
	}
	return p.decide(o, floor)
}

// Hourly is predictive scaling as AWS offers it for EC2 Auto Scaling: an hourly forecast of the load from the last two
// weeks sets the minimum of each hour, in force from five minutes before it, and never scales in; the reactive policy
// does the rest.
type Hourly struct {
	floored
	target float64
	hours  slots
}

// NewHourly returns an HPA with a predictive minimum that aims at a utilization.
func NewHourly(c HPAConfig, target float64) *Hourly {
	return &Hourly{floored: floored{NewHPA(c)}, target: target}
}

// Name implements simulate.Policy.
func (p *Hourly) Name() string { return "AWS predictive" }

// buffer is the SchedulingBufferTime of an EC2 predictive scaling policy.
const buffer = 5 * time.Minute

// Decide implements simulate.Policy.
func (p *Hourly) Decide(o *simulate.Observation) int {
	hour := ticks(time.Hour, o)
	p.hours.ticks = hour
	p.hours.take(o)
	floor := p.forecast(o, 0)
	if left := hour - o.Tick%hour; left <= int(buffer/o.Config.Tick) {
		floor = max(floor, p.forecast(o, 1))
	}
	return p.decide(o, floor)
}

// forecast is the mean of the hour, ahead hours from the running one, over the last fourteen days.
func (p *Hourly) forecast(o *simulate.Observation, ahead int) int {
	total, days := 0.0, 0
	for day := 1; day <= 14; day++ {
		if s, ok := p.hours.back(24*day - ahead); ok {
			total += s.mean()
			days++
		}
	}
	if days == 0 {
		return 0
	}
	n, _ := instances(total/float64(days), o.Config.Capacity*p.target)
	return n
}
