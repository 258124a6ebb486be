package simulate

import (
	"math"
	"time"
)

// Policy decides how many instances to hold.
type Policy interface {
	Name() string
	// Decide is called once per tick, in order, and returns the instances wanted; the simulator clamps them.
	Decide(o *Observation) int
}

// Observation is what a policy can know at a tick. It is valid during the call only.
type Observation struct {
	Tick    int
	Now     time.Time
	Config  Config
	Desired int
	Ready   int
	// Rates are the request rates seen so far in requests/s, oldest first, one per tick; NaN where not measured.
	Rates []float64
	// RateAt is when the newest of Rates was measured.
	RateAt time.Time
	// Fleet are the instances, oldest first, in groups that were ordered together.
	Fleet []Group
	// Measured is when the utilization in Fleet was published; zero while there is none.
	Measured time.Time
	// Load is how many instances' worth of CPU were used, on the mean of the metric window; zero while none is published.
	Load float64
}

// Group are instances ordered at the same tick.
type Group struct {
	Count    int
	Age      time.Duration // since ordered
	Ready    bool
	ReadyAge time.Duration // since ready
	Measured bool          // the metrics pipeline has seen them
	// Utilization is their mean CPU use over the metric window, as a share of what they can do.
	Utilization float64
}

// Rate returns the newest rate seen, NaN when there is none.
func (o *Observation) Rate() float64 {
	if len(o.Rates) == 0 {
		return math.NaN()
	}
	return o.Rates[len(o.Rates)-1]
}

// Utilization returns the mean over the measured instances, NaN when none is.
func (o *Observation) Utilization() float64 {
	total, count := 0.0, 0
	for _, g := range o.Fleet {
		if g.Measured {
			total += g.Utilization * float64(g.Count)
			count += g.Count
		}
	}
	if count == 0 {
		return math.NaN()
	}
	return total / float64(count)
}
