package scaling

import (
	"math"
	"time"
)

// Tried is a size of an instance that the shadow tried, other than the one production runs.
type Tried struct {
	Name         string   // of the configuration
	InstanceSize          // 0: as production's
	Capacity     Capacity // of one such instance
	Price        float64  // of one such instance for an hour
}

// Alternative is a size that would have carried the demand of the last SizeMemory for less. Number and size of the instances
// are chosen together: larger ones share what an instance costs whatever its size, smaller ones follow the demand more closely.
type Alternative struct {
	Tried
	Instances int     // that would be needed now
	Hourly    float64 // price of all of them for an hour, the mean over the demand
	Today     float64 // the same of today's size
}

const (
	// loadsPerOctave is how finely demands are told apart: within a bin they differ by a fifth, and its mean stands for them.
	loadsPerOctave = 4
	lowestOctave   = -10
	octaves        = 40
)

// loads is how long the demand that instances were held for was how high, with exponential forgetting. It is never changed.
type loads struct {
	since, at time.Time
	bins      [octaves * loadsPerOctave]struct{ weight, sum float64 }
}

// push returns the loads with one more, in requests per second.
func (l *loads) push(load float64, now time.Time, memory time.Duration) *loads {
	next := &loads{since: now, at: now}
	keep := 0.0
	if l != nil {
		*next = *l
		next.at = now
		keep = math.Exp2(-float64(max(0, now.Sub(l.at))) / float64(memory))
	}
	for i := range next.bins {
		next.bins[i].weight *= keep
		next.bins[i].sum *= keep
	}
	bin := 0
	if load > 0 {
		bin = int(math.Floor(loadsPerOctave * (math.Log2(load) - lowestOctave)))
	}
	b := &next.bins[min(max(0, bin), len(next.bins)-1)]
	b.weight++
	b.sum += load
	return next
}

// instances is how many of a capacity the loads took on average; false when there were loads that the maximum cannot carry.
func (l *loads) instances(capacity float64, c Config) (mean float64, fits bool) {
	weight, fits := 0.0, true
	for _, b := range l.bins {
		if b.weight <= 0 {
			continue
		}
		n := instancesFor(b.sum/b.weight, capacity)
		fits = fits && n <= c.MaxInstances
		mean += b.weight * float64(min(max(n, c.MinInstances), c.MaxInstances))
		weight += b.weight
	}
	return mean / weight, fits
}

// size looks for a size of instance that carries the demand for less. Whether production is moved to it is configured: it is
// another deployment, which its owner may want to make.
func (d *decider) size() {
	best, found := d.cheapest()
	if found {
		d.out.Cheaper = &best
		d.ground(Reason{Code: CheaperSize})
	}
	if d.c.FollowSize {
		d.resize(best, found)
	}
}

// cheapest is the size that would have carried the demand of late for the least, among those the shadow tried; false when
// that is today's.
func (d *decider) cheapest() (Alternative, bool) {
	price, today := d.in.Price, d.out.Evidence.CapacityUsed
	if !(price > 0) || !known(price) || !d.demand || !(today > 0) {
		return Alternative{}, false
	}
	d.state.loads = d.state.loads.push(d.load(), d.now, d.c.SizeMemory)
	if d.now.Sub(d.state.loads.since) < d.c.SizeMemory || !d.holds(d.in.Capacity) {
		return Alternative{}, false
	}
	mean, _ := d.state.loads.instances(today, d.c)
	best := Alternative{Hourly: (1 - d.c.SizeSaving) * mean * price, Today: mean * price}
	for _, t := range d.in.Tried {
		if !d.holds(t.Capacity) || !(t.Price > 0) || !known(t.Price) || !t.known() || d.in.Size != (InstanceSize{}) && d.in.Size.Near(t.InstanceSize) {
			continue
		}
		counted := t.Capacity.counted(d.c.Risk, d.c.Imbalance)
		if mean, fits := d.state.loads.instances(counted, d.c); fits && mean*t.Price < best.Hourly {
			best.Tried, best.Hourly = t, mean*t.Price
			best.Instances = min(max(instancesFor(d.load(), counted), d.c.MinInstances), d.c.MaxInstances)
		}
	}
	return best, best.Instances > 0
}

// load is the demand that instances are held for.
func (d *decider) load() float64 {
	if e := d.out.Evidence; e.ForecastTrusted {
		return max(e.Demand, e.Forecast)
	}
	return d.out.Evidence.Demand
}

// holds says whether a capacity was measured, and for what is asked today.
func (d *decider) holds(c Capacity) bool {
	fresh := c.Expires.IsZero() || !d.now.After(c.Expires)
	return c.Source == CapacityMeasured && c.usable() && !c.OtherSize && fresh && c.MixDrift <= d.c.MaxMixDrift
}
