package policy

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Forecaster foresees the demand from what has been seen of it.
type Forecaster interface {
	// Forecast returns what is known at o of the demand within the lead and the hold time, in requests/s.
	Forecast(o *simulate.Observation, lead, hold time.Duration) scaling.Forecast
}

// Foreshadow is the product's own decision, run on a recorded demand.
type Foreshadow struct {
	config     scaling.Config
	forecaster Forecaster
	state      scaling.State
	points     []scaling.Point
	last       scaling.Decision
}

// NewForeshadow returns the product with a configuration whose limits and interval are replaced by the simulation's. A nil
// forecaster leaves it reactive.
func NewForeshadow(c scaling.Config, f Forecaster) *Foreshadow {
	return &Foreshadow{config: c, forecaster: f}
}

// Name implements simulate.Policy.
func (f *Foreshadow) Name() string { return "Foreshadow" }

// Last returns the decision of the last tick.
func (f *Foreshadow) Last() scaling.Decision { return f.last }

// Decide implements simulate.Policy.
func (f *Foreshadow) Decide(o *simulate.Observation) int {
	c := f.config
	c.MinInstances, c.MaxInstances, c.Interval = o.Config.Min, o.Config.Max, o.Config.Tick
	in := scaling.Input{
		Config: c, Startup: o.Config.ReadyAfter(),
		Instances: scaling.Instances{Desired: o.Desired, Ready: o.Ready},
		Demand:    f.recent(o),
		Capacity: scaling.Capacity{
			Source: scaling.CapacityMeasured, PerSecond: o.Config.Capacity * o.Config.MaxUtilization, Measured: o.Config.Start,
		},
		Utilization: scaling.Utilization{Share: o.Utilization(), At: o.Measured},
	}
	if in.Utilization.Share > 0 {
		in.Utilization.Instances = o.Load / in.Utilization.Share
	}
	if f.forecaster != nil {
		in.Forecast = f.forecaster.Forecast(o, in.LeadTime(), in.HoldTime())
	}
	f.last, f.state = scaling.Decide(f.state, in, o.Now)
	return f.last.Production.Instances
}

// recent returns the rates within the smoothing time as points, at least one.
func (f *Foreshadow) recent(o *simulate.Observation) []scaling.Point {
	f.points = f.points[:0]
	n := min(len(o.Rates), 1+int(f.config.Smoothing/o.Config.Tick))
	for i := n; i > 0; i-- {
		back := time.Duration(i-1) * o.Config.Tick
		f.points = append(f.points, scaling.Point{At: o.RateAt.Add(-back), PerSecond: o.Rates[len(o.Rates)-i]})
	}
	return f.points
}
