package simulate

import "time"

// fleet are the instances of the simulated workload, in groups, oldest first.
type fleet struct {
	groups  []cohort
	startup int // ticks
	ready   int
	total   int
}

type cohort struct {
	count   int
	ordered int // tick; negative for those there from the start
	readyAt int // tick
}

func newFleet(initial, startup int) fleet {
	const long = 1 << 20 // ticks: old enough for every warm-up rule
	return fleet{groups: []cohort{{initial, -long, -long}}, startup: startup, ready: initial, total: initial}
}

// advance makes ready what has finished starting. Groups in which nothing can change any more are merged.
func (f *fleet) advance(tick, settled int) {
	f.ready = 0
	for i := range f.groups {
		if f.groups[i].readyAt <= tick {
			f.ready += f.groups[i].count
		}
	}
	for len(f.groups) > 1 && f.groups[1].readyAt <= tick-settled {
		f.groups[1].count += f.groups[0].count
		f.groups = f.groups[1:]
	}
}

// scale orders or releases instances. The newest go first, so those still starting before those that serve.
func (f *fleet) scale(to, tick int) {
	if to > f.total {
		f.groups = append(f.groups, cohort{to - f.total, tick, tick + f.startup})
		if f.startup == 0 {
			f.ready += to - f.total
		}
	}
	for release := f.total - to; release > 0; {
		last := &f.groups[len(f.groups)-1]
		n := min(release, last.count)
		if last.readyAt <= tick {
			f.ready -= n
		}
		last.count -= n
		release -= n
		if last.count == 0 && len(f.groups) > 1 {
			f.groups = f.groups[:len(f.groups)-1]
		}
	}
	f.total = to
}

// pipeline publishes CPU utilization as a metrics server does: averaged over a window, every so often.
type pipeline struct {
	window, every int       // ticks, at least one
	sum           []float64 // sum[t] is the utilization of ticks before t, added up
	load          []float64 // the same of utilization times ready instances
	published     int       // end of the newest published window; zero while there is none
}

func newPipeline(c Config, n int) *pipeline {
	p := &pipeline{window: max(1, ticks(c.MetricWindow, c.Tick)), every: max(1, ticks(c.MetricEvery, c.Tick))}
	p.sum, p.load = make([]float64, 1, n+1), make([]float64, 1, n+1)
	return p
}

// record adds the utilization of the tick that just ended.
func (p *pipeline) record(utilization float64, ready int) {
	p.load = append(p.load, p.load[len(p.load)-1]+utilization*float64(ready))
	p.sum = append(p.sum, p.sum[len(p.sum)-1]+utilization)
	if end := len(p.sum) - 1; end%p.every == 0 {
		p.published = end
	}
}

// mean is what the pipeline says of an instance ready since a tick; false when it was not yet seen.
func (p *pipeline) mean(readyAt int) (float64, bool) {
	from := max(0, p.published-p.window)
	if p.published == 0 || readyAt >= p.published {
		return 0, false
	}
	return (p.sum[p.published] - p.sum[max(from, readyAt)]) / float64(p.published-from), true
}

// used is the mean load of the published window.
func (p *pipeline) used() float64 {
	from := max(0, p.published-p.window)
	if p.published == from {
		return 0
	}
	return (p.load[p.published] - p.load[from]) / float64(p.published-from)
}

// observe fills the groups with what a policy can see of them.
func (f *fleet) observe(into []Group, p *pipeline, tick int, c Config) []Group {
	into = into[:0]
	for _, g := range f.groups {
		seen := Group{Count: g.count, Age: time.Duration(tick-g.ordered) * c.Tick, Ready: g.readyAt <= tick}
		if seen.Ready {
			seen.ReadyAge = time.Duration(tick-g.readyAt) * c.Tick
			seen.Utilization, seen.Measured = p.mean(g.readyAt)
		}
		into = append(into, seen)
	}
	return into
}
