package scaling

import (
	"math"
	"time"
)

// decider carries one decision from its input to its result.
type decider struct {
	c       Config
	in      Input
	now     time.Time
	current int // instances ready or starting
	out     Decision
	state   State
	hpa     bool // the HPA alternative is known
	demand  bool // the demand is known
	fresh   bool // there is a forecast of now
	outage  bool // demand is so low that something on the way here must have failed
	risk    float64
	reacts  bool // on paper, nothing foreseen was worth its money
	verdict verdict
	grounds []Reason
}

// wish is what a rule asks for, before hysteresis and limits.
type wish struct {
	needed int // until a new instance could be ready
	due    int // to be ordered: what is over before a new instance is ready it may leave out
	later  int // within the hold time; at least needed
	why    Code
}

// Decide returns the size a workload should have, and the state for the next decision.
func Decide(state State, in Input, now time.Time) (Decision, State) {
	d := begin(state, in, now)
	d.hpa = d.state.stepHPA(in, d.c, now)
	d.state.glance(in, d.c, now)
	if d.hpa {
		d.out.HPAInstances = d.state.hpaHolds
	}
	var n int
	switch {
	case !in.Capacity.usable():
		n = d.withoutCapacity()
	default:
		n = d.withCapacity()
	}
	d.out.Production.Instances = d.limit(n)
	d.resources()
	d.size()
	d.bottleneck()
	d.shadow()
	d.out.Reasons = append(d.out.Reasons, d.grounds...)
	return d.out, d.state
}

func begin(state State, in Input, now time.Time) *decider {
	c := in.Config.usable()
	d := &decider{c: c, in: in, now: now, state: state, risk: c.Risk, grounds: make([]Reason, 0, 4)}
	d.state.at = now
	if !in.Size.known() {
		d.in.Size = InstanceSize{}
	}
	d.current = in.Instances.held()
	d.out.Reasons = make([]Reason, 0, 8)
	d.out.Made, d.out.Expires = now, now.Add(c.Lifetime)
	e := &d.out.Evidence
	e.Startup, e.LeadTime = in.startup(c), in.LeadTime()
	e.Ready, e.Desired = in.Instances.Ready, in.Instances.Desired
	e.Minimum, e.Maximum, e.HPATarget = c.MinInstances, c.MaxInstances, c.HPA.TargetPercent
	if known(in.Utilization.Share) {
		e.Utilization = in.Utilization.Share
	}
	return d
}

// withCapacity decides from demand and forecast, both in requests per second.
func (d *decider) withCapacity() int {
	e := &d.out.Evidence
	e.Capacity, e.CapacityLower = d.in.Capacity.PerSecond, 0
	if known(d.in.Capacity.Lower) {
		e.CapacityLower = d.in.Capacity.Lower
	}
	e.CapacityUsed = d.in.Capacity.counted(d.c.Risk, d.c.Imbalance)
	_, ok := d.expected(1-d.c.Risk, 0)
	d.fresh = ok && d.now.Sub(d.in.Forecast.Issued).Abs() <= d.c.ForecastMaxAge
	var w wish
	rate, span, age, ok := demandNow(d.in.Demand, d.c, d.now)
	d.demand, e.DemandAge = ok, age
	if ok {
		e.Demand = rate
		d.watch(rate)
		noise := 0.0
		if span > 0 {
			// The mean of few requests is itself uncertain: their number is Poisson.
			noise = normal(1-d.c.Risk) * math.Sqrt(rate/span.Seconds())
		}
		d.compete(rate, noise)
		d.heed()
		n := instancesFor(rate+noise, e.CapacityUsed)
		w = wish{needed: n, due: n, why: DemandAboveCommitted}
		d.state.reactive = d.state.reactive.push(w.needed, d.now, d.c.DownHold)
		d.out.ReactiveInstances = min(max(d.state.reactive.max(), d.c.MinInstances), d.c.MaxInstances)
	}
	w.later = w.needed
	d.out.Policy = Reactive
	switch {
	case d.verdict.follow:
		w = d.follow(w)
	case d.reacts:
		d.forecast() // shown, though it does not decide
		d.ground(Reason{Code: ForecastTooDear})
	case d.trusted():
		d.out.Policy = Predictive
		w = d.foresee(w.needed, foreseen{e.Forecast, e.ForecastArrival, e.ForecastHold}, d.verdict.manner)
	default:
		w = d.floor(w)
	}
	d.capacityGrounds(&w)
	e.Needed, e.NeededLater = w.needed, w.later
	if !d.demand {
		return d.hold(w)
	}
	return d.settle(w)
}

// heed takes the risk that the rivals show to be worth taking.
func (d *decider) heed() {
	d.verdict = d.state.rivals.judge(d.c, d.c.Risk)
	d.reckon()
	if !d.verdict.known || d.verdict.follow || !d.fresh {
		return
	}
	if d.reacts = d.verdict.risk >= boldest; !d.reacts {
		d.risk = d.verdict.risk
	}
}

// follow wishes for what the HPA holds, less what of it repays a debt.
func (d *decider) follow(demand wish) wish {
	d.forecast() // shown, though it does not decide
	code := HPAUntilKnown
	switch {
	case d.verdict.restless:
		code = HPAForCalm
	case d.verdict.known:
		code = HPAFollowed
	}
	d.ground(Reason{Code: code, to: d.state.hpaHolds})
	n := d.repay(d.state.hpaHolds, demand.needed)
	return wish{needed: n, due: n, later: n, why: UtilizationAboveTarget}
}

// foresee is what to wish for, where demand takes so many instances now, when something is foreseen, in a manner.
func (d *decider) foresee(now int, x foreseen, manner int) wish {
	carry := d.out.Evidence.CapacityUsed
	w := wish{needed: instancesFor(x.lead, carry), why: ForecastAboveCommitted}
	if now >= w.needed {
		w.needed, w.why = now, DemandAboveCommitted
	}
	w.due = w.needed
	if !manners[manner].prompt {
		w.due, w.why = instancesFor(x.arrival, carry), ArrivalAboveCommitted
	}
	w.later = max(w.needed, instancesFor(x.hold, carry))
	return w
}

// floor raises the wish to what the HPA would hold.
func (d *decider) floor(w wish) wish {
	if d.hpa && d.state.hpaHolds > w.needed {
		w.needed, w.due, w.why = d.state.hpaHolds, d.state.hpaHolds, UtilizationAboveTarget
		w.later = max(w.later, w.needed)
		d.ground(Reason{Code: HPAFloor, to: d.state.hpaHolds})
	}
	return w
}

// forecast fills the evidence with what is expected of the demand; false when there is no forecast.
func (d *decider) forecast() bool {
	f, e := d.in.Forecast, &d.out.Evidence
	e.Quantile = 1 - d.risk
	if known(f.Mean) {
		e.ForecastMean = f.Mean
	}
	x, ok := d.expected(e.Quantile, d.verdict.manner)
	if !ok {
		return false
	}
	e.Forecast, e.ForecastArrival, e.ForecastHold = x.lead, x.arrival, x.hold
	return true
}

// foreseen is the highest demand at a level: within the lead time, of that from when an instance ordered now is ready, and within
// the hold time, at the level that keeps instances.
type foreseen struct{ lead, arrival, hold float64 }

// expected is what is foreseen at a level, to a manner.
func (d *decider) expected(level float64, manner int) (x foreseen, ok bool) {
	f := d.in.Forecast
	shift := manners[manner].shift(f.Surprise)
	if x.lead, ok = at(f.Lead, level, shift); !ok {
		return foreseen{}, false
	}
	x.arrival, x.hold = x.lead, x.lead
	if len(f.Arrival) > 0 {
		if x.arrival, ok = at(f.Arrival, level, shift); !ok {
			return foreseen{}, false
		}
	}
	if len(f.Hold) > 0 {
		hold, ok := at(f.Hold, min(d.c.DownQuantile, level), shift)
		if !ok {
			return foreseen{}, false
		}
		x.hold = max(x.hold, hold)
	}
	return x, true
}

// trusted says whether the forecast may be used, and why not.
func (d *decider) trusted() bool {
	f, e := d.in.Forecast, &d.out.Evidence
	if !d.forecast() {
		d.ground(Reason{Code: ForecastMissing, Detail: f.Reason})
		return false
	}
	if !d.fresh {
		d.ground(Reason{Code: ForecastStale, Detail: f.Reason})
		return false
	}
	// What it would have done on paper, within its budget, is a better proof than its errors.
	if proven := d.verdict.known && d.c.Budget > 0; !f.Earned && !proven {
		d.ground(Reason{Code: ForecastUntrusted, Detail: f.Reason})
		return false
	}
	e.ForecastTrusted = true
	d.ground(Reason{Code: ForecastTrusted, Detail: f.Reason})
	d.discount()
	return true
}

// withoutCapacity follows the CPU utilization, as the HPA does.
func (d *decider) withoutCapacity() int {
	rate, _, age, ok := demandNow(d.in.Demand, d.c, d.now)
	d.demand = ok
	d.out.Evidence.Demand, d.out.Evidence.DemandAge = rate, age
	d.forecast() // shown, though it cannot be turned into instances
	if !d.hpa {
		d.out.Policy = Hold
		d.say(Reason{Code: NothingKnown})
		return d.current
	}
	d.out.Policy = Reactive
	d.ground(Reason{Code: CapacityMissing})
	w := wish{needed: d.state.hpaHolds, due: d.state.hpaHolds, later: d.state.hpaHolds, why: UtilizationAboveTarget}
	d.out.Evidence.Needed, d.out.Evidence.NeededLater = w.needed, w.later
	if !d.demand {
		return d.hold(w)
	}
	return d.settle(w)
}

// hold keeps what runs, or grows it: without a known demand nothing is released, nor at once when it is known again.
func (d *decider) hold(w wish) int {
	d.state.needs = d.state.needs.push(d.current, d.now, d.c.DownHold)
	if w.due > d.current {
		d.say(d.growth(w))
		d.ground(Reason{Code: DemandMissing})
		return w.due
	}
	d.out.Policy = Hold
	d.say(Reason{Code: DemandMissing})
	return d.current
}

// settle grows at once and shrinks late.
func (d *decider) settle(w wish) int {
	if len(d.state.needs) == 0 {
		// A start without memory: as far as anybody knows, what runs was needed until now.
		d.state.needs = d.state.needs.push(d.current, d.now, d.c.DownHold)
	}
	d.state.needs = d.state.needs.push(d.remembered(w.needed, d.state.needs), d.now, d.c.DownHold)
	if d.verdict.follow {
		return d.imitate(w)
	}
	past := d.state.needs.max()
	n, rule := next(d.c, d.current, w, past)
	idle := d.current - max(w.later, past)
	switch rule {
	case ScaleDown:
		d.say(Reason{Code: ScaleDown, from: d.current, to: d.current - idle})
		if d.current-n < idle {
			d.ground(Reason{Code: ScaleDownInSteps, to: d.current - idle})
		}
	case ScaleDownTooSmall:
		d.say(Reason{Code: rule, from: d.current, to: d.current - idle})
	case ScaleDownHeldByFuture:
		d.say(Reason{Code: rule, from: w.needed, to: min(w.later, d.current)})
	case ScaleDownHeldByPast:
		d.say(Reason{Code: d.heldByPast(), from: w.needed, to: past})
	case EnoughInstances, TooLateToHelp:
		d.say(Reason{Code: rule, from: d.current, to: w.needed})
	default:
		d.say(d.growth(w))
	}
	return n
}

// growth says why more is wished for than runs. An idle HPA that holds more holds the minimum.
func (d *decider) growth(w wish) Reason {
	idle := d.out.Evidence.Utilization*100 <= float64(d.c.HPA.TargetPercent)
	if w.why == UtilizationAboveTarget && w.needed <= d.c.MinInstances && idle {
		return Reason{Code: AtMinimum, to: w.needed}
	}
	return Reason{Code: w.why, from: d.current, to: w.due}
}

// remembered is the need to remember: in an outage none is forgotten.
func (d *decider) remembered(need int, past peaks) int {
	if d.outage {
		return max(need, past.max())
	}
	return need
}

// heldByPast says why what was needed before is kept.
func (d *decider) heldByPast() Code {
	if d.outage {
		return ScaleDownHeldInOutage
	}
	return ScaleDownHeldByPast
}

// imitate holds what the HPA does: it has its own patience, but in an outage, and until it has had the time to see the end of one.
func (d *decider) imitate(w wish) int {
	n := w.needed
	if d.now.Sub(d.state.outage) <= d.c.DownHold {
		n = max(n, min(d.current, d.state.needs.max()))
	}
	switch {
	case n > d.current:
		d.say(d.growth(w))
	case n > w.needed:
		d.say(Reason{Code: d.heldByPast(), from: w.needed, to: n})
	case n < d.current:
		d.say(Reason{Code: ScaleDown, from: d.current, to: n})
	default:
		d.say(Reason{Code: EnoughInstances, from: d.current, to: n})
	}
	return n
}

// next is the hysteresis: what to hold after a number, and the rule that says so; empty for growing. It grows at once, not by
// trifles, and not for what is over before a new instance is ready; it releases late, in steps, and not for trifles.
func next(c Config, current int, w wish, past int) (int, Code) {
	if w.due > current {
		if w.why == UtilizationAboveTarget {
			return w.due, "" // the HPA's own answer
		}
		return max(w.due, min(current+int(c.UpStep*float64(current)), c.MaxInstances)), ""
	}
	keep := max(w.later, past)
	switch idle := current - keep; {
	case w.needed > current:
		return current, TooLateToHelp
	case w.needed == current || idle <= 0 && keep == w.needed:
		return current, EnoughInstances
	case idle <= 0 && w.later >= past:
		return current, ScaleDownHeldByFuture
	case idle <= 0:
		return current, ScaleDownHeldByPast
	case float64(idle) < c.DownMargin*float64(current):
		return current, ScaleDownTooSmall
	default:
		return current - min(idle, max(1, int(c.DownStep*float64(current)))), ScaleDown
	}
}

func (d *decider) limit(n int) int {
	if n > d.c.MaxInstances {
		d.say(Reason{Code: AtMaximum, to: n})
		return d.c.MaxInstances
	}
	if n < d.c.MinInstances || n == d.c.MinInstances && d.out.Evidence.Needed < n {
		d.say(Reason{Code: AtMinimum})
		return d.c.MinInstances
	}
	return n
}

func (d *decider) say(r Reason)    { d.out.Reasons = append(d.out.Reasons, r) }
func (d *decider) ground(r Reason) { d.grounds = append(d.grounds, r) }
