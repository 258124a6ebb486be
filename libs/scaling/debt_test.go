package scaling

import (
	"testing"
	"time"
)

// debtor follows an HPA that holds 24 instances, after more was spent by a share than it would have.
func debtor(c Config, overspent float64) *decider {
	d := &decider{c: c, now: start.Add(time.Hour), hpa: true}
	d.state.hpaHolds, d.state.hpaFleet = 24, []cohort{{count: 24}}
	d.state.rivals.seen = c.BudgetMemory.Seconds()
	d.state.rivals.hpa.spent, d.state.rivals.real = 1e6, (1+overspent)*1e6
	return d
}

func TestADebtIsRepaidWhereDemandLeavesRoom(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Budget = 0.9
	whole, spender := c, c
	whole.Budget, spender.Budget = 1, 1.1
	for name, tc := range map[string]struct {
		c         Config
		overspent float64
		needed    int
		after     time.Duration
		starting  int
		want      int
	}{
		"in debt":                     {c, 0.01, 17, c.DownHold, 0, 23},
		"not for long yet":            {c, 0.01, 17, c.DownHold - time.Second, 0, 24},
		"no room":                     {c, 0.01, 21, c.DownHold, 0, 24},
		"some of it is starting":      {c, 0.01, 17, c.DownHold, 1, 24},
		"nothing was overspent":       {c, -0.01, 17, c.DownHold, 0, 24},
		"next to nothing was saved":   {c, -0.001, 17, c.DownHold, 0, 23},
		"which is all that is asked":  {whole, -0.001, 17, c.DownHold, 0, 24},
		"a larger budget allows it":   {spender, 0.05, 17, c.DownHold, 0, 24},
		"and not more than it":        {spender, 0.15, 17, c.DownHold, 0, 23},
		"without a budget is no debt": {DefaultConfig(), 0.01, 17, c.DownHold, 0, 24},
	} {
		d := debtor(tc.c, tc.overspent)
		d.reckon()
		d.now = d.now.Add(tc.after)
		d.out.Evidence.Startup = time.Minute
		if tc.starting > 0 {
			d.state.hpaFleet = []cohort{{count: 24 - tc.starting}, {tc.starting, d.now}}
		}
		got := d.repay(24, tc.needed)
		if said := has(Decision{Reasons: d.grounds}, DebtRepaid); got != tc.want || said != (got < 24) {
			t.Errorf("%s: %d instances of the HPA's 24 are held, want %d; said so: %v", name, got, tc.want, said)
		}
	}
}

// A debt is over when a little was saved, not as soon as there is none, or every decision would change what is held.
func TestADebtEndsOnce(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Budget = 1
	d := debtor(c, 0.01)
	for _, step := range []struct {
		owed float64
		debt bool
	}{{0.01, true}, {0, true}, {-0.001, true}, {-0.003, false}, {-0.001, false}, {0.001, true}} {
		d.state.rivals.real = (1 + step.owed) * d.state.rivals.hpa.spent
		if d.reckon(); d.state.indebted.IsZero() == step.debt {
			t.Errorf("%+.3f overspent: in debt since %v", step.owed, d.state.indebted)
		}
	}
}
