package scaling

import "time"

// Prospects say what money buys on the demand as it came of late: what fleets on paper would have cost and violated.
type Prospects struct {
	Seen        time.Duration // of that demand; older parts count less
	HPAViolated float64       // requests that the HPA would have violated; older ones count less
	Fleets      []Prospect    // without a budget first, then by rising budget
}

// Prospect is what a decision within a budget would have cost and violated.
type Prospect struct {
	Budget   float64 // share of the HPA's bill; 0 is none, with the configured risk
	Risk     float64 // that it would have taken, 1 where it foresees nothing; 0 where it would have followed the HPA
	Cost     float64 // share of the HPA's bill
	Violated float64 // requests; older ones count less
}

// prospectBudgets are those that are compared, after none.
var prospectBudgets = [...]float64{0, 0.9, 1, 1.1, 1.25, 1.5, 2}

// Prospects asks the judge of the rivals what it would do within each budget, had nothing been overspent or saved before. None
// until enough was seen; those beyond which more money buys nothing more are left out.
func (s State) Prospects(c Config) Prospects {
	c, v := c.usable(), &s.rivals
	if !v.judgeable(c) {
		return Prospects{}
	}
	out := Prospects{Seen: time.Duration(v.seen * float64(time.Second)), HPAViolated: v.hpa.violated}
	v.real = 0
	for _, budget := range prospectBudgets {
		c.Budget = budget
		p := Prospect{Budget: budget, Cost: 1, Violated: v.hpa.violated}
		if verdict := v.judge(c, c.Risk); !verdict.follow {
			own := &v.own[verdict.manner]
			p.Risk, p.Cost, p.Violated = verdict.risk, own.at(verdict.risk, spending)/v.hpa.spent, own.at(verdict.risk, violations)
		}
		out.Fleets = append(out.Fleets, p)
		if budget > 0 && p.Risk == rivalRisks[0] {
			break
		}
	}
	return out
}
