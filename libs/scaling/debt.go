package scaling

import (
	"math"
	"time"
)

const (
	// repayment is the share of the HPA's fleet, as a divisor, that is held less of at most while a debt is repaid, and roomy how
	// many times the instances that demand needs are left.
	repayment, roomy = 20, 1.15
	// repaid is the saving, as a share of what the HPA would have spent, at which a debt is over, and thrift what who wants less
	// than that spent wants saved at least: what cannot be foreseen may still cost a little.
	repaid, thrift = 0.002, 0.003
)

// owes is by how much more was spent than the HPA would have, as a share of that, and would be with so many more
// instance-seconds; negative for what was saved. A budget above the HPA's cost may be spent. Without a budget, and before
// enough was seen to compare, nothing is counted.
func (v *rivals) owes(c Config, more float64) float64 {
	if c.Budget <= 0 || !v.judgeable(c) {
		return math.Inf(-1)
	}
	return (v.real+more)/v.hpa.spent - max(1, c.Budget)
}

// reckon notes since when there is a debt.
func (d *decider) reckon() {
	switch owed := d.state.rivals.owes(d.c, 0) + min(thrift, max(0, 1-d.c.Budget)); {
	case owed < -repaid:
		d.state.indebted = time.Time{}
	case owed > 0 && d.state.indebted.IsZero():
		d.state.indebted = d.now
	}
}

// repay is what to hold of the HPA's fleet: while there is a debt, a little less where all of it is ready and demand leaves room.
// To do what the HPA does would never make up for what was spent before.
func (d *decider) repay(fleet, needed int) int {
	since := d.state.indebted
	if since.IsZero() || d.now.Sub(since) < d.c.DownHold || d.state.hpaReady(d.out.Evidence.Startup, d.now) < fleet {
		return fleet
	}
	room := int(math.Ceil(roomy * float64(max(needed, d.state.reactive.max()))))
	n := max(fleet-max(1, fleet/repayment), room)
	if n >= fleet {
		return fleet
	}
	d.ground(Reason{Code: DebtRepaid, to: n})
	return n
}
