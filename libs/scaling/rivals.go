package scaling

import (
	"math"
	"time"
)

// rivalRisks are the risks tried on paper beside the one in charge, safest and dearest first. The last foresees nothing: it
// reacts to the demand of the last seconds. Below the first nobody knows a distribution: money that is left would be spent on
// instances that come before every hour and go after it.
var rivalRisks = [...]float64{1e-4, 1e-3, 5e-3, 0.02, 0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.95, boldest}

// boldest is the last of the risks.
const boldest = 1

// rivals are the fleets there would be under other risks, and under the HPA, each played on paper against the demand as it
// came. What they would have cost and violated says which risk is worth taking, without a look at the future.
type rivals struct {
	at   time.Time
	seen float64 // seconds played, older ones forgotten
	hpa  rival
	real float64 // instance-seconds that really ran, older ones forgotten
	own  [len(manners)]row
	// most is the maximum they were played under, and beyond the requests that were more than it carries, older ones forgotten:
	// these every fleet violated, the HPA's too.
	most   int
	beyond float64
}

// row are the fleets of one manner, one per risk.
type row [len(rivalRisks)]rival

// rival is one fleet on paper.
type rival struct {
	holds    int
	needs    peaks   // of what it needed, as in State
	low      peaks   // of minus what it held: what was held for a whole start-up time is ready
	spent    float64 // instance-seconds, older ones forgotten
	violated float64 // requests that met too few ready instances, older ones forgotten
	// strained is about the same, told in degrees: from none at the beginning of the strain to all of the requests at its end.
	// Violations are rare, and a few of them do not tell one manner from another.
	strained float64
	acted    float64 // scale actions, older ones forgotten
}

// round is what the rivals meet at one decision.
type round struct {
	now              time.Time
	startup, elapsed time.Duration
	rate, capacity   float64
	keep             float64 // share of the past that is not forgotten
	room             peaks   // for what the rivals remember: dozens of moving maxima, one allocation
}

// score counts what the fleet costs and violates until the next decision.
func (r *rival) score(m *round) {
	r.low = r.low.pushInto(&m.room, -r.holds, m.now, m.startup)
	r.spent = r.spent*m.keep + float64(r.holds)*m.elapsed.Seconds()
	r.violated *= m.keep
	r.strained *= m.keep
	r.acted *= m.keep
	requests, able := m.rate*m.elapsed.Seconds(), float64(-r.low.max())*m.capacity
	if m.rate > able*(1+grain) {
		r.violated += requests
	}
	if share := (m.rate/able - strainBegins) / (strainEnds - strainBegins); share > 0 {
		r.strained += requests * min(share, 1)
	}
}

// strainBegins and strainEnds are shares of what the ready instances carry.
const strainBegins, strainEnds = 0.8, 1.2

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
	v.most, v.beyond = min(d.c.MaxInstances, instanceLimit), v.beyond*m.keep
	if rate > float64(v.most)*m.capacity*(1+grain) {
		v.beyond += rate * m.elapsed.Seconds()
	}
	v.hpa.move(d.state.hpaHolds)
	m.room = make(peaks, 0, v.entries())
	v.hpa.score(&m)
	now := instancesFor(rate+noise, e.CapacityUsed)
	for manner := range manners {
		for i, risk := range rivalRisks {
			w := wish{needed: now, due: now, later: now}
			if x, ok := d.expected(1-risk, manner); ok && risk < boldest {
				w = d.foresee(now, x, manner)
			}
			r := &v.own[manner][i]
			d.act(r, w, &m)
			r.score(&m)
		}
	}
}

// entries is at most how many peaks the rivals hold after the next decision.
func (v *rivals) entries() int {
	n := len(v.hpa.low) + 1
	for i := range v.own {
		for j := range v.own[i] {
			n += len(v.own[i][j].needs) + len(v.own[i][j].low) + 2
		}
	}
	return n
}

// act lets a rival do what it wishes for, as production would.
func (d *decider) act(r *rival, w wish, m *round) {
	if r.holds == 0 {
		r.holds = max(d.current, 1)
	}
	r.needs = r.needs.pushInto(&m.room, d.remembered(w.needed, r.needs), d.now, d.c.DownHold)
	n, _ := next(d.c, r.holds, w, r.needs.max())
	r.move(min(max(n, d.c.MinInstances), d.c.MaxInstances))
}

// move changes what is held, which is an action but for the first time.
func (r *rival) move(n int) {
	if r.holds != 0 && r.holds != n {
		r.acted++
	}
	r.holds = n
}

// verdict is what the rivals teach.
type verdict struct {
	known    bool    // enough was seen to say anything
	follow   bool    // no risk would have served users as well as the HPA for its money: do what it does
	restless bool    // follow, since the HPA hardly acts
	risk     float64 // the one to take otherwise
	manner   int     // the one to take it in
}

// judge picks the risk that would have cost what may be spent: the budget, as a share of what the HPA would have. Where that
// would have violated more than the HPA, it picks the cheapest risk that would not have, and when even that would have cost
// more than the HPA, the HPA. Without a budget the given risk stands, in the first manner, unless it would have violated more.
//
// With a budget it is the HPA, too, on a demand so calm that the HPA hardly acts: there is little to win, and its violations,
// if any, are too few to tell what wins it.
func (v *rivals) judge(c Config, risk float64) verdict {
	out := v.compare(c, risk)
	if !out.known || out.follow || c.Budget <= 0 {
		return out
	}
	seldom := fewestActions * v.seen / c.BudgetMemory.Seconds()
	out.restless = v.own[out.manner].at(out.risk, actions) > unrest*max(v.hpa.acted, seldom)
	out.follow = out.restless
	return out
}

// unrest is how many times the HPA's scale actions are too many, and fewestActions what it is taken to do at least over the
// memory: a few in a week are calm whatever it does.
const unrest, fewestActions = 7, 3

// compare judges by cost and violations.
func (v *rivals) compare(c Config, risk float64) verdict {
	if !v.judgeable(c) {
		// A budget is a promise from the first day on.
		return verdict{follow: c.Budget > 0 && v.hpa.spent > 0}
	}
	out := verdict{known: true, risk: risk}
	affordable := true
	if c.Budget > 0 {
		out.manner, out.risk, affordable = v.afford(v.allowance(c.Budget))
	}
	own := &v.own[out.manner]
	bound := noWorse * v.hpa.violated
	if affordable && own.at(out.risk, violations) <= bound {
		return out
	}
	// Violations grow with the risk: the last that is no worse than the HPA is the cheapest.
	for i := len(rivalRisks) - 1; i >= 0; i-- {
		r := &own[i]
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

// noWorse is the share of the HPA's violations that a risk must stay below, and clearly that of the strain in the first manner
// that another must: what would have been as good in the past is as likely to be worse. To leave the HPA takes less than to
// leave the first manner, since staying with it costs its own violations.
const noWorse, clearly = 0.94, 0.9

// afford picks, of the risks in each manner that would have cost what may be spent, the one in the first manner, or that in
// another which would have strained users clearly less. False when in that manner even the riskiest would have cost more.
func (v *rivals) afford(may float64) (manner int, risk float64, ok bool) {
	least := math.Inf(1)
	for i := range v.own {
		r, enough := v.own[i].reach(spending, may)
		strain := v.own[i].at(r, strain)
		if i == 0 {
			risk, ok, least = r, enough, clearly*strain
		} else if enough && strain < least {
			manner, risk, ok, least = i, r, true, strain
		}
	}
	return manner, risk, ok
}

func spending(r *rival) float64   { return r.spent }
func violations(r *rival) float64 { return r.violated }
func strain(r *rival) float64     { return r.strained }
func actions(r *rival) float64    { return r.acted }

// allowance is what may be spent: less by as much as was overspent of late, when the past was no good guide, and more by as
// much as was saved.
func (v *rivals) allowance(budget float64) float64 {
	may := budget * v.hpa.spent
	if v.real <= 0 {
		return may
	}
	return may * min(max(may/v.real, leastAllowance), mostAllowance)
}

// judgeable says whether enough was seen to compare with the HPA.
func (v *rivals) judgeable(c Config) bool {
	return v.seen >= c.BudgetMemory.Seconds()/budgetEvidence && v.hpa.spent > 0
}

// leastAllowance and mostAllowance bound how far what was overspent or saved is made up for at once.
const leastAllowance, mostAllowance = 0.8, 1.05

// budgetEvidence is the share of the memory, as a divisor, that must have been seen before it is judged by.
const budgetEvidence = 7

// reach returns the risk at which a falling measure of a row reaches a value, interpolated between neighbours; false when the
// riskiest is still above it.
func (o *row) reach(measure func(*rival) float64, value float64) (float64, bool) {
	for i := range o {
		here := measure(&o[i])
		if here > value {
			continue
		}
		if i == 0 {
			return rivalRisks[0], true
		}
		before := measure(&o[i-1])
		share := 0.0
		if before > here {
			share = (before - value) / (before - here)
		}
		from, to := math.Log(rivalRisks[i-1]), math.Log(rivalRisks[i])
		return math.Exp(from + share*(to-from)), true
	}
	return rivalRisks[len(rivalRisks)-1], false
}

// at is a measure of a risk, interpolated between the rivals of a row.
func (o *row) at(risk float64, measure func(*rival) float64) float64 {
	for i, r := range rivalRisks {
		if r < risk {
			continue
		}
		if i == 0 {
			return measure(&o[0])
		}
		from, to := math.Log(rivalRisks[i-1]), math.Log(r)
		share := (math.Log(risk) - from) / (to - from)
		before := measure(&o[i-1])
		return before + share*(measure(&o[i])-before)
	}
	return measure(&o[len(o)-1])
}
