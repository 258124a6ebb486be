package scaling

import (
	"math"
	"time"
)

// rivalRisks are the risks tried on paper beside the one in charge, safest and dearest first. The last foresees nothing: it
// reacts to the demand of the last seconds.
var rivalRisks = [...]float64{1e-9, 1e-5, 1e-3, 5e-3, 0.02, 0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.95, 1}

// rivals are the fleets there would be under other risks, and under the HPA, each played on paper against the demand as it
// came. What they would have cost and violated says which risk is worth taking, without a look at the future.
type rivals struct {
	at   time.Time
	seen float64 // seconds played, older ones forgotten
	hpa  rival
	real float64 // instance-seconds that really ran, older ones forgotten
	own  [len(rivalRisks)]rival
}

// rival is one fleet on paper.
type rival struct {
	holds    int
	needs    peaks   // of what it needed, as in State
	low      peaks   // of minus what it held: what was held for a whole start-up time is ready
	spent    float64 // instance-seconds, older ones forgotten
	violated float64 // requests that met too few ready instances, older ones forgotten
}

// round is what the rivals meet at one decision.
type round struct {
	now              time.Time
	startup, elapsed time.Duration
	rate, capacity   float64
	keep             float64 // share of the past that is not forgotten
}

// score counts what the fleet costs and violates until the next decision.
func (r *rival) score(m round) {
	r.low = r.low.push(-r.holds, m.now, m.startup)
	r.spent = r.spent*m.keep + float64(r.holds)*m.elapsed.Seconds()
	r.violated *= m.keep
	if m.rate > float64(-r.low.max())*m.capacity*(1+grain) {
		r.violated += m.rate * m.elapsed.Seconds()
	}
}

// compete lets every rival decide and be scored, while there is a forecast to decide by and the HPA to be compared with.
func (d *decider) compete(rate, noise float64) {
	e, v := &d.out.Evidence, &d.state.rivals
	if !d.hpa || !d.demand || !d.fresh || e.CapacityUsed <= 0 {
		return
	}
	m := round{now: d.now, startup: e.Startup, rate: rate, capacity: e.CapacityUsed, elapsed: d.c.Interval}
	if !v.at.IsZero() {
		m.elapsed = min(max(0, d.now.Sub(v.at)), 10*d.c.Interval)
	}
	m.keep = math.Exp(-m.elapsed.Seconds() / max(d.c.BudgetMemory.Seconds(), 1e-9))
	v.at, v.seen = d.now, v.seen*m.keep+m.elapsed.Seconds()
	v.real = v.real*m.keep + float64(d.current)*m.elapsed.Seconds()
	v.hpa.holds = d.state.hpaHolds
	v.hpa.score(m)
	now := instancesFor(rate+noise, e.CapacityUsed)
	for i, risk := range rivalRisks {
		r := &v.own[i]
		w := wish{needed: now, later: now}
		if lead, hold, ok := d.expected(1 - risk); ok {
			w.needed = max(now, instancesFor(lead, e.CapacityUsed))
			w.later = max(w.needed, instancesFor(hold, e.CapacityUsed))
		}
		if r.holds == 0 {
			r.holds = max(d.current, 1)
		}
		r.needs = r.needs.push(w.needed, d.now, d.c.DownHold)
		r.holds, _ = next(d.c, r.holds, w, r.needs.max())
		r.holds = min(max(r.holds, d.c.MinInstances), d.c.MaxInstances)
		r.score(m)
	}
}

// verdict is what the rivals teach.
type verdict struct {
	known  bool    // enough was seen to say anything
	follow bool    // no risk would have served users as well as the HPA for its money: do what it does
	risk   float64 // the one to take otherwise
}

// judge picks the risk that would have cost what may be spent: the budget, as a share of what the HPA would have. Where that
// would have violated more than the HPA, it picks the cheapest risk that would not have, and when even that would have cost
// more than the HPA, the HPA. Without a budget the given risk stands, unless it would have violated more.
func (v *rivals) judge(c Config, risk float64) verdict {
	if v.seen < c.BudgetMemory.Seconds()/budgetEvidence || v.hpa.spent <= 0 {
		// A budget is a promise from the first day on.
		return verdict{follow: c.Budget > 0 && v.hpa.spent > 0}
	}
	out := verdict{known: true, risk: risk}
	affordable := true
	if c.Budget > 0 {
		out.risk, affordable = v.reach(func(r *rival) float64 { return r.spent }, v.allowance(c.Budget))
	}
	bound := clearly * v.hpa.violated
	if affordable && v.violated(out.risk) <= bound {
		return out
	}
	// Violations grow with the risk: the last that is no worse than the HPA is the cheapest.
	for i := len(rivalRisks) - 1; i >= 0; i-- {
		r := &v.own[i]
		if c.Budget > 0 && r.spent > max(1, c.Budget)*v.hpa.spent {
			break
		}
		if r.violated <= bound {
			out.risk = rivalRisks[i]
			return out
		}
	}
	out.follow = true
	return out
}

// clearly is the share of the HPA's violations that a risk must stay below: what would have been as good as the HPA in the past
// is as likely to be worse, and a change from one to the other costs something of its own.
const clearly = 0.9

// allowance is what may be spent: less by as much as was overspent of late, when the past was no good guide, and more by as
// much as was saved.
func (v *rivals) allowance(budget float64) float64 {
	may := budget * v.hpa.spent
	if v.real <= 0 {
		return may
	}
	return may * min(max(may/v.real, leastAllowance), mostAllowance)
}

// leastAllowance and mostAllowance bound how far what was overspent or saved is made up for at once.
const leastAllowance, mostAllowance = 0.8, 1.05

// budgetEvidence is the share of the memory, as a divisor, that must have been seen before it is judged by.
const budgetEvidence = 7

// reach returns the risk at which a falling measure of the rivals reaches a value, interpolated between neighbours; false when
// the riskiest is still above it.
func (v *rivals) reach(measure func(*rival) float64, value float64) (float64, bool) {
	for i := range rivalRisks {
		here := measure(&v.own[i])
		if here > value {
			continue
		}
		if i == 0 {
			return rivalRisks[0], true
		}
		before := measure(&v.own[i-1])
		share := 0.0
		if before > here {
			share = (before - value) / (before - here)
		}
		from, to := math.Log(rivalRisks[i-1]), math.Log(rivalRisks[i])
		return math.Exp(from + share*(to-from)), true
	}
	return rivalRisks[len(rivalRisks)-1], false
}

// violated is what a risk would have violated, interpolated between the rivals.
func (v *rivals) violated(risk float64) float64 {
	for i, r := range rivalRisks {
		if r < risk {
			continue
		}
		if i == 0 {
			return v.own[0].violated
		}
		from, to := math.Log(rivalRisks[i-1]), math.Log(r)
		share := (math.Log(risk) - from) / (to - from)
		return v.own[i-1].violated + share*(v.own[i].violated-v.own[i-1].violated)
	}
	return v.own[len(rivalRisks)-1].violated
}
