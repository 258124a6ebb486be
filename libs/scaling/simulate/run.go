package simulate

import (
	"fmt"
	"math"
	"time"
)

// settledAfter is how long after readiness an instance is like any other to every policy.
const settledAfter = 30 * time.Minute

// Run replays demand, in requests per tick, under a policy.
func Run(demand []float64, c Config, p Policy) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, fmt.Errorf("check simulation: %w", err)
	}
	for i, v := range demand {
		if v < 0 || math.IsInf(v, 0) {
			return Result{}, fmt.Errorf("check demand: tick %d is %v requests", i, v)
		}
	}
	r := newRun(demand, c)
	for t := range demand {
		r.step(t, p)
	}
	return r.score.finish(p.Name(), c), nil
}

type run struct {
	c       Config
	demand  []float64
	rates   []float64 // requests/s
	delay   int       // ticks
	settled int
	fleet   fleet
	metrics *pipeline
	backlog float64 // requests waiting
	load    float64 // instances' worth of work in the last tick in which it was known
	seen    Observation
	score   score
}

func newRun(demand []float64, c Config) *run {
	r := &run{
		c: c, demand: demand, rates: make([]float64, len(demand)),
		delay:   int((c.RateDelay + c.Tick/2) / c.Tick),
		settled: ticks(settledAfter, c.Tick), metrics: newPipeline(c, len(demand)),
	}
	for i, v := range demand {
		r.rates[i] = v / c.Tick.Seconds()
	}
	initial := c.Initial
	if initial == 0 && len(demand) > 0 {
		initial = c.Need(r.rates[0])
	}
	r.fleet = newFleet(min(max(initial, c.Min), c.Max), ticks(c.Startup, c.Tick))
	r.score = newScore(len(demand), ticks(c.Warmup, c.Tick))
	return r
}

func (r *run) step(t int, p Policy) {
	r.fleet.advance(t, r.settled)
	before := r.fleet.total
	want := min(max(p.Decide(r.observe(t)), r.c.Min), r.c.Max)
	r.fleet.scale(want, t)
	r.score.scaled(t, before, want)
	r.serve(t)
}

func (r *run) observe(t int) *Observation {
	o := &r.seen
	o.Tick, o.Config = t, r.c
	o.Now = r.c.Start.Add(time.Duration(t) * r.c.Tick)
	o.Desired, o.Ready = r.fleet.total, r.fleet.ready
	end := max(0, t+1-r.delay)
	o.Rates = r.rates[:end:end]
	o.RateAt = o.Now.Add(-time.Duration(r.delay) * r.c.Tick)
	o.Fleet = r.fleet.observe(o.Fleet, r.metrics, t, r.c)
	o.Measured, o.Load = time.Time{}, r.metrics.used()
	if r.metrics.published > 0 {
		o.Measured = r.c.Start.Add(time.Duration(r.metrics.published) * r.c.Tick)
	}
	return o
}

// serve lets the tick's requests meet what is ready.
func (r *run) serve(t int) {
	requests := r.demand[t]
	if math.IsNaN(requests) {
		// The work goes on as it was: were it the utilization, a fleet that shrinks would find as much to shrink again.
		r.metrics.record(utilizationOf(r.load, r.fleet.ready), r.fleet.ready)
		r.score.unknown(t, r.fleet.ready, r.fleet.total)
		return
	}
	able := float64(r.fleet.ready) * r.c.Capacity * r.c.Tick.Seconds()
	work := requests + r.backlog
	utilization, refused := math.Inf(1), work
	if able > 0 {
		utilization = work / able
		refused = math.Max(0, work-able)
	}
	// What can be served within the patience waits; the rest is refused.
	room := float64(r.fleet.ready) * r.c.Capacity * r.c.Patience.Seconds()
	r.backlog = math.Min(refused, room)
	refused -= r.backlog
	r.load = work / (r.c.Capacity * r.c.Tick.Seconds())
	r.metrics.record(utilizationOf(r.load, r.fleet.ready), r.fleet.ready)
	need := r.c.need(r.rates[t])
	r.score.served(tally{
		tick:     t,
		requests: requests, refused: refused, violated: utilization > r.c.MaxUtilization+grain,
		need: need, ready: r.fleet.ready, total: r.fleet.total,
	})
}

// utilizationOf is the mean use of instances that share a load; none where there are none.
func utilizationOf(load float64, ready int) float64 {
	if ready == 0 {
		return 0
	}
	return load / float64(ready)
}

// grain keeps rounding from turning a fleet used exactly to its limit into a violation.
const grain = 1e-9

func (c Config) need(rate float64) int {
	n := math.Ceil(rate/(c.Capacity*c.MaxUtilization) - grain)
	if !(n > 0) {
		return 0
	}
	return int(math.Min(n, math.MaxInt32))
}
