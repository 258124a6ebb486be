package scaling

import (
	"cmp"
	"math"
)

// Names of what can run out, beside those a measured capacity names.
const (
	withinSLO = "what it carries within the SLO"
	CPU       = "cpu"
	Memory    = "memory"
	Network   = "network"
)

// Bottleneck is what runs out first when the demand grows with its mix unchanged. The zero value is not known.
type Bottleneck struct {
	Resource string
	Growth   float64 // times the demand that the recommended instances are held for, which they just carry
	// Use of an instance at that demand and its Limit, in the unit of the resource. Of a capacity: requests per second.
	Use, Limit float64
}

// bottleneck looks for what is first to run out at the demand that instances are held for: what the shadow found at the rate
// an instance carries, or a resource that production uses up before, since it uses more of it than the shadow did.
func (d *decider) bottleneck() {
	n, e := float64(d.out.Production.Instances), &d.out.Evidence
	if !d.demand || !(n > 0) || !(d.load() > 0) {
		return
	}
	rate := d.load() / n
	first := Bottleneck{Growth: math.Inf(1)}
	see := func(name string, use, base, limit float64) {
		if !known(use) || !known(base) || !known(limit) || limit == 0 || use <= base {
			return
		}
		if growth := max(0, limit-base) / (use - base); growth < first.Growth {
			first = Bottleneck{name, growth, use, limit}
		}
	}
	if d.holds(d.in.Capacity) {
		see(cmp.Or(d.in.Capacity.Bottleneck, withinSLO), rate, 0, d.in.Capacity.PerSecond)
	}
	r, l := d.in.Resources, d.in.Limits
	see(CPU, r.CPU.at(rate), r.CPU.Base, l.CPUCores)
	see(Memory, r.Memory.at(rate), r.Memory.Base, l.MemoryBytes)
	see(Network, r.Network.at(rate), r.Network.Base, l.NetworkBytesPerSecond)
	if !math.IsInf(first.Growth, 1) {
		e.Bottleneck = first
		d.ground(Reason{Code: RunsOutFirst})
	}
}

// at is the use at a rate.
func (l Line) at(rate float64) float64 { return l.Base + l.PerRequest*rate }
