package policy

import (
	"math"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Rate reacts to the request rate of the last seconds with the known capacity of an instance, under the HPA's behaviour
// rules: what an HPA on a custom metric, or KEDA, does at its best.
type Rate struct {
	target  float64
	rules   hpa.Behavior
	history hpa.History
}

// NewRate returns a policy that aims at a utilization, as a share of what an instance can do.
func NewRate(target float64, behavior hpa.Behavior) *Rate {
	return &Rate{target: target, rules: behavior}
}

// Name implements simulate.Policy.
func (r *Rate) Name() string { return "request rate" }

// Decide implements simulate.Policy.
func (r *Rate) Decide(o *simulate.Observation) int {
	wish, ok := instances(o.Rate(), o.Config.Capacity*r.target)
	if !ok {
		return o.Desired
	}
	next, history := hpa.Rules{Min: o.Config.Min, Max: o.Config.Max, Behavior: &r.rules}.Normalize(r.history, o.Desired, wish, o.Now)
	r.history = history
	return next
}

// instances returns how many carry a rate; false when the rate is not known.
func instances(rate, capacity float64) (int, bool) {
	n := math.Ceil(rate/capacity - 1e-9)
	if math.IsNaN(n) {
		return 0, false
	}
	return int(math.Min(math.Max(n, 0), math.MaxInt32)), true
}
