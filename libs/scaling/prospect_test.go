package scaling

import (
	"math"
	"testing"
)

// TestProspectsComeTrue: who then plays the same demand within one of the budgets spends about what was said, and users fare
// as was said beside the HPA's.
func TestProspectsComeTrue(t *testing.T) {
	t.Parallel()
	play := func(budget float64) played {
		return trial{budget: budget, demand: wave(0.1), forecast: spread(0.1, 1), earned: true}.play()
	}
	without := play(0)
	said := without.prospects
	if len(said.Fleets) < 4 || said.Fleets[0].Budget != 0 || said.Fleets[0].Risk != 0.05 {
		t.Fatalf("prospects %+v, want one without a budget at the configured risk, and some budgets", said)
	}
	for i, p := range said.Fleets {
		if i > 1 && !(p.Budget > said.Fleets[i-1].Budget && p.Cost >= said.Fleets[i-1].Cost && p.Violated <= said.Fleets[i-1].Violated) {
			t.Errorf("%+v after %+v, want more money to buy fewer violations", p, said.Fleets[i-1])
		}
		came := without
		if p.Budget > 0 {
			came = play(p.Budget)
		}
		t.Logf("%+v: %.3f of the HPA's money, %.3f of its violations (said %.3f)", p, came.spent/came.hpaSpent, came.violated/came.hpaViolated, p.Violated/said.HPAViolated)
		if cost := came.spent / came.hpaSpent; math.Abs(cost-p.Cost) > 0.05 {
			t.Errorf("budget %v: said to cost %.3f of the HPA's, came to %.3f", p.Budget, p.Cost, cost)
		}
		if p.Budget > 0 && p.Cost > p.Budget+1e-9 {
			continue // it cannot be kept without serving users worse than the HPA, which is said
		}
		if share := came.violated / came.hpaViolated; math.Abs(share-p.Violated/said.HPAViolated) > 0.15 {
			t.Errorf("budget %v: said to violate %.3f of what the HPA does, came to %.3f", p.Budget, p.Violated/said.HPAViolated, share)
		}
	}
}

// TestProspectsSayWhereTheHPAIsFollowed, and nothing before enough was seen.
func TestProspectsSayWhereTheHPAIsFollowed(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	v := rivals{seen: c.BudgetMemory.Seconds(), hpa: rival{spent: 1000, violated: 50}}
	for m := range v.own {
		for i := range v.own[m] {
			v.own[m][i] = rival{spent: 1500 - float64(i), violated: 60}
		}
	}
	for _, p := range (State{rivals: v}).Prospects(c).Fleets {
		if p != (Prospect{Budget: p.Budget, Cost: 1, Violated: 50}) {
			t.Errorf("%+v, want what the HPA costs and violates: nothing else does as well", p)
		}
	}
	v.seen = 1
	if said := (State{rivals: v}).Prospects(c); len(said.Fleets) > 0 {
		t.Errorf("%+v after a second", said)
	}
}
