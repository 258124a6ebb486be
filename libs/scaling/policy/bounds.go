package policy

import (
	"math"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Static always holds the same number.
type Static struct{ instances int }

// NewStatic returns a policy that holds a number of instances, for example the peak of the past.
func NewStatic(instances int) *Static { return &Static{instances} }

// Name implements simulate.Policy.
func (s *Static) Name() string { return "static" }

// Decide implements simulate.Policy.
func (s *Static) Decide(*simulate.Observation) int { return s.instances }

// Oracle knows the future. Every instance needed at a moment must have been ordered a start-up time before, so it holds
// the highest need from now until an instance ordered now would be ready: no policy without violations is cheaper.
type Oracle struct {
	demand []float64 // requests per tick
	spare  float64
}

// NewOracle returns a clairvoyant of a demand in requests per tick, which holds a share more than needed.
func NewOracle(demand []float64, spare float64) *Oracle { return &Oracle{demand, spare} }

// Name implements simulate.Policy.
func (p *Oracle) Name() string { return "oracle" }

// Decide implements simulate.Policy.
func (p *Oracle) Decide(o *simulate.Observation) int {
	startup := int((o.Config.Startup + o.Config.Tick - 1) / o.Config.Tick)
	peak := 0.0
	for t := o.Tick; t <= min(o.Tick+startup, len(p.demand)-1); t++ {
		if v := p.demand[t]; !math.IsNaN(v) {
			peak = math.Max(peak, v)
		}
	}
	return o.Config.Need(peak / o.Config.Tick.Seconds() * (1 + p.spare))
}
