package scaling

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// trial is a workload played against Decide: instances of 100 requests/s within the SLO, at 85 % utilization, that start in
// two minutes.
type trial struct {
	budget   float64
	demand   func(tick int) float64
	forecast func(tick int) []Quantile // of any window; nil: none
	arrival  func(tick int) []Quantile // from when an instance is ready; nil: as any window
	earned   bool
	expected func(tick int) float64 // of the running step; nil: as it came
}

// played is what came of the second half of a trial; the first half is for learning.
type played struct {
	spent, violated       float64 // by Decide
	hpaSpent, hpaViolated float64 // by the HPA on paper, as the rivals saw it
	followed, predictive  int
	discounted, acted     int
	ticks                 int
	last                  Decision
	prospects             Prospects
}

const trialTicks = 2 * 5760 // two days

func (p trial) play() played {
	c := DefaultConfig()
	c.MaxInstances, c.Imbalance, c.Smoothing, c.Budget, c.BudgetMemory = 1000, 0, 0, p.budget, 24*time.Hour
	const startup = 8 // ticks
	var out played
	var state State
	var held, loads []float64 // per tick: instances, and instances' worth of work
	desired := int(p.demand(0)/60) + 1
	for t := range trialTicks {
		now := start.Add(time.Duration(t) * c.Interval)
		ready := float64(desired)
		for _, h := range held[max(0, t-startup):] {
			ready = math.Min(ready, h)
		}
		in := Input{
			Config: c, Startup: startup * c.Interval, Instances: Instances{Desired: desired, Ready: int(ready)},
			Demand:   []Point{{now, p.demand(t)}},
			Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100},
		}
		if at := t / 4 * 4; at >= 4 { // published once a minute
			load := 0.0
			for _, l := range loads[at-4 : at] {
				load += l / 4
			}
			in.Utilization = Utilization{Share: load / ready, At: start.Add(time.Duration(at) * c.Interval), Instances: ready}
		}
		if q := p.forecast(t); q != nil {
			in.Forecast = Forecast{Issued: now, Lead: q, Hold: q, Earned: p.earned}
			if p.arrival != nil {
				in.Forecast.Arrival = p.arrival(t)
			}
			if p.expected != nil {
				in.Forecast.Surprise = p.demand(t) - p.expected(t)
			}
		}
		out.last, state = Decide(state, in, now)
		moved := out.last.Production.Instances != desired
		desired = out.last.Production.Instances
		held = append(held, float64(desired))
		loads = append(loads, p.demand(t)*0.85/100)
		ready = math.Min(ready, float64(desired))
		if t < trialTicks/2 {
			continue
		}
		out.ticks++
		out.spent += float64(desired)
		if p.demand(t) > 100*ready {
			out.violated += p.demand(t)
		}
		if moved {
			out.acted++
		}
		out.hpaSpent += float64(state.hpaHolds)
		if p.demand(t) > 100*float64(-state.rivals.hpa.low.max()) {
			out.hpaViolated += p.demand(t)
		}
		if has(out.last, SurpriseDiscounted) {
			out.discounted++
		}
		if has(out.last, HPAFollowed) || has(out.last, HPAForCalm) {
			out.followed++
		}
		if out.last.Policy == Predictive {
			out.predictive++
		}
	}
	out.prospects = state.Prospects(c)
	return out
}

// wave is a day of 1000 to 3000 requests/s with noise that changes every minute.
func wave(noise float64) func(int) float64 {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, trialTicks)
	for t := range values {
		if t%4 != 0 {
			values[t] = values[t-1]
			continue
		}
		values[t] = (2000 - 1000*math.Cos(2*math.Pi*float64(t)/1440)) * math.Exp(noise*r.NormFloat64())
	}
	return func(t int) float64 { return values[t] }
}

// spread is a forecast of the wave's highest value in the next minutes, times a factor by which it is wrong.
func spread(noise, factor float64) func(int) []Quantile {
	return func(t int) []Quantile {
		peak := 0.0
		for ahead := 0; ahead <= 10; ahead++ {
			peak = math.Max(peak, 2000-1000*math.Cos(2*math.Pi*float64(t+ahead)/1440))
		}
		at := func(z float64) float64 { return factor * peak * math.Exp(noise*z) }
		return []Quantile{{0.05, at(-0.5)}, {0.5, at(0.6)}, {0.95, at(2)}, {0.99, at(2.5)}, {0.995, at(2.7)}}
	}
}

func TestTheBudgetIsSpentOnFewerViolations(t *testing.T) {
	t.Parallel()
	// Saving leaves users no worse than the HPA would; its whole bill leaves them far better.
	for budget, most := range map[float64]float64{0.95: 1, 1: 0.6, 1.05: 0.4} {
		got := trial{budget: budget, demand: wave(0.1), forecast: spread(0.1, 1), earned: true}.play()
		if cost := got.spent / got.hpaSpent; math.Abs(cost-budget) > 0.03 {
			t.Errorf("budget %g: spent %.3f of the HPA's", budget, cost)
		}
		if got.hpaViolated == 0 || got.violated > most*got.hpaViolated || got.followed > 0 {
			t.Errorf("budget %g: violated %.3g, the HPA %.3g, followed it %d times", budget, got.violated, got.hpaViolated, got.followed)
		}
	}
}

func TestNeverWorseThanTheHPAForItsMoney(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]trial{
		"forecast 10 times too low":  {demand: wave(0.1), forecast: spread(0.1, 0.1), earned: true},
		"forecast 10 times too high": {demand: wave(0.1), forecast: spread(0.1, 10), earned: true},
		"bursts nobody foresees":     {demand: bursts(), forecast: spread(0.1, 0.3), earned: true},
		"untrusted":                  {demand: wave(0.1), forecast: spread(0.1, 1)},
	} {
		p.budget = 1
		got := p.play()
		if cost := got.spent / got.hpaSpent; cost > 1.03 {
			t.Errorf("%s: spent %.3f of the HPA's", name, cost)
		}
		if got.violated > 1.05*got.hpaViolated {
			t.Errorf("%s: violated %.4g, the HPA %.4g, followed it in %d of %d", name, got.violated, got.hpaViolated, got.followed, got.ticks)
		}
	}
}

// bursts are minutes of ten times the demand at random.
func bursts() func(int) float64 {
	r := rand.New(rand.NewPCG(3, 4))
	values := make([]float64, trialTicks)
	for t := range values {
		if t%4 != 0 {
			values[t] = values[t-1]
			continue
		}
		values[t] = 300
		if r.IntN(10) == 0 {
			values[t] = 3000
		}
	}
	return func(t int) float64 { return values[t] }
}

// A demand that stirs by less than the HPA's tolerance is left to the HPA: to follow every stir would be restless, and win little.
func TestACalmDemandIsLeftToTheHPA(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	stirs := make([]float64, trialTicks)
	for t := range stirs {
		if stirs[t] = stirs[max(0, t-1)]; t%80 == 0 {
			stirs[t] = 2000 * (1 + 0.08*math.Cos(math.Pi*r.Float64()))
		}
	}
	demand := func(t int) float64 { return stirs[t] }
	// What comes within the lead time is foreseen nearly exactly.
	forecast := func(t int) []Quantile {
		high := math.Max(stirs[t], stirs[min(t+9, trialTicks-1)])
		return []Quantile{{0.05, 0.99 * high}, {0.5, high}, {0.95, 1.01 * high}, {0.99, 1.02 * high}, {0.995, 1.02 * high}}
	}
	p := trial{budget: 1, demand: demand, forecast: forecast, earned: true}
	got := p.play()
	if got.acted > 20 || !has(got.last, HPAForCalm) || has(got.last, HPAFollowed) {
		t.Errorf("with a budget it acts %d times, in the end for %v", got.acted, got.last.Reasons)
	}
	p.budget = 0
	if free := p.play(); free.acted < 2*got.acted+20 {
		t.Errorf("without one it acts %d times, with one %d", free.acted, got.acted)
	}
}

func TestWithoutABudgetTheRiskStandsUnlessItIsWorse(t *testing.T) {
	t.Parallel()
	good := trial{demand: wave(0.1), forecast: spread(0.1, 1), earned: true}.play()
	if q := good.last.Evidence.Quantile; math.Abs(q-0.95) > 1e-9 || good.predictive != good.ticks {
		t.Errorf("quantile %g, predictive in %d of %d", q, good.predictive, good.ticks)
	}
	low := trial{demand: wave(0.1), forecast: spread(0.1, 0.5), earned: true}.play()
	if low.violated > 1.05*low.hpaViolated {
		t.Errorf("a forecast of half the demand violated %.4g, the HPA %.4g", low.violated, low.hpaViolated)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.BudgetMemory = 7 * time.Hour
	// The rivals cost 130, 120, 115, ... 70 % of the HPA and violate 0, 2, 3, ... 12.
	board := func(hpaViolated float64) *rivals {
		v := &rivals{seen: 3601, hpa: rival{spent: 100, violated: hpaViolated}}
		for i := range rivalRisks {
			n := float64(i)
			if i > 0 {
				n++
			}
			v.own[0][i] = rival{spent: 130 - 5*n, violated: n, strained: 10 * n}
			v.own[1][i] = rival{spent: 125 - 5*n, violated: n, strained: 10 * (n + 1)}
		}
		return v
	}
	// The other manner strains users by a share of that.
	other := func(share float64) *rivals {
		v := board(20)
		for i := range v.own[1] {
			v.own[1][i].strained *= share
		}
		return v
	}
	// The HPA acts and each rival acts so often.
	acting := func(hpaActs, acts float64) *rivals {
		v := board(20)
		v.hpa.acted = hpaActs
		for i := range rivalRisks {
			v.own[0][i].acted = acts
		}
		return v
	}
	for name, tc := range map[string]struct {
		board  *rivals
		budget float64
		risk   float64
		want   verdict
	}{
		"too little seen":           {&rivals{seen: 3599, hpa: rival{spent: 1}}, 1, 0.05, verdict{follow: true}},
		"little seen, no budget":    {&rivals{seen: 3599, hpa: rival{spent: 1}}, 0, 0.05, verdict{}},
		"an HPA that never ran":     {&rivals{seen: 3601}, 1, 0.05, verdict{}},
		"exactly a rival":           {board(20), 1, 0.05, verdict{known: true, risk: 0.12}},
		"between two":               {board(20), 1.025, 0.05, verdict{known: true, risk: math.Sqrt(0.05 * 0.12)}},
		"more than the safest":      {board(20), 2, 0.05, verdict{known: true, risk: 1e-4}},
		"savings cost users":        {board(8), 0.8, 0.05, verdict{known: true, risk: 0.25}},
		"just as good as the HPA":   {board(6.2), 1, 0.05, verdict{known: true, follow: true, risk: 0.12}},
		"no money for the HPA's":    {board(5), 1, 0.05, verdict{known: true, follow: true, risk: 0.12}},
		"too dear and too bad":      {board(5), 0.5, 0.05, verdict{known: true, follow: true, risk: 1}},
		"no budget":                 {board(20), 0, 0.3, verdict{known: true, risk: 0.3}},
		"no budget, but worse":      {board(3.5), 0, 0.3, verdict{known: true, risk: 5e-3}},
		"no budget, nothing helps":  {board(-1), 0, 0.3, verdict{known: true, follow: true, risk: 0.3}},
		"no risk at all":            {board(0), 0, 0, verdict{known: true}},
		"a risk beyond the boldest": {board(20), 0, 1, verdict{known: true, risk: 1}},
		// For the same money the other manner takes a risk that is one step lower.
		"a little better otherwise":   {other(0.95), 1, 0.05, verdict{known: true, risk: 0.12}},
		"clearly better otherwise":    {other(0.85), 1, 0.05, verdict{known: true, risk: 0.05, manner: 1}},
		"otherwise, without a budget": {other(0), 0, 0.05, verdict{known: true, risk: 0.05}},
		// Seen was a seventh of the memory, for which the HPA is taken to act 3/7 times.
		"seven times the HPA's actions":     {acting(10, 69), 1, 0.05, verdict{known: true, risk: 0.12}},
		"more than that":                    {acting(10, 71), 1, 0.05, verdict{known: true, risk: 0.12, follow: true, restless: true}},
		"more than that, without a budget":  {acting(10, 71), 0, 0.05, verdict{known: true, risk: 0.05}},
		"a few actions when the HPA sleeps": {acting(0, 3), 1, 0.05, verdict{known: true, risk: 0.12}},
		"many actions when the HPA sleeps":  {acting(0, 4), 1, 0.05, verdict{known: true, risk: 0.12, follow: true, restless: true}},
	} {
		c.Budget = tc.budget
		got := tc.board.judge(c, tc.risk)
		if got.known != tc.want.known || got.follow != tc.want.follow || got.restless != tc.want.restless || got.manner != tc.want.manner || math.Abs(got.risk-tc.want.risk) > 1e-9 {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// Where only the rival that foresees nothing did better than the HPA, the forecast is shown and does not decide.
func TestAForecastThatIsNotWorthItsMoney(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.MaxInstances, c.Imbalance, c.Smoothing, c.Budget = 1000, 0, 0, 1
	in := Input{
		Config: c, Startup: time.Minute, Instances: Instances{Desired: 20, Ready: 20}, Demand: []Point{{start, 1950}},
		Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100}, Utilization: Utilization{Share: 0.6, At: start, Instances: 20},
	}
	high := []Quantile{{0.05, 8000}, {0.5, 9000}, {0.95, 9500}}
	in.Forecast = Forecast{Issued: start, Lead: high, Hold: high, Earned: true}
	state := State{rivals: rivals{at: start.Add(-c.Interval), seen: c.BudgetMemory.Seconds(), hpa: rival{holds: 20, spent: 1e8, violated: 1e8}}}
	for manner := range manners {
		for i := range rivalRisks {
			state.rivals.own[manner][i] = rival{holds: 20, spent: 0.9e8, violated: 0.99e8}
		}
		state.rivals.own[manner][len(rivalRisks)-1].violated = 0.5e8
	}
	d, _ := Decide(state, in, start)
	if d.Production.Instances != 20 || d.Policy != Reactive || !has(d, ForecastTooDear) || has(d, ForecastTrusted) || has(d, HPAFloor) {
		t.Errorf("%d instances, policy %v, reasons %v", d.Production.Instances, d.Policy, d.Reasons)
	}
	if e := d.Evidence; e.Forecast != 9500 || math.Abs(e.Quantile-0.95) > 1e-9 || e.ForecastTrusted {
		t.Errorf("the evidence shows %v at %v, trusted %v", e.Forecast, e.Quantile, e.ForecastTrusted)
	}
}

// Where nothing foreseen is worth its money, the demand of the last seconds may still be: one rival knows nothing else.
func TestARivalThatForeseesNothing(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.MaxInstances, c.Imbalance, c.Smoothing = 1000, 0, 0
	in := Input{
		Config: c, Startup: time.Minute, Instances: Instances{Desired: 10, Ready: 10},
		Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100},
	}
	var state State
	for i := range 5 {
		now := start.Add(time.Duration(i) * c.Interval)
		in.Demand = []Point{{now, 1950}}
		in.Utilization = Utilization{Share: 0.6, At: now, Instances: 10}
		high := []Quantile{{0.05, 8000}, {0.5, 9000}, {0.95, 9500}}
		in.Forecast = Forecast{Issued: now, Lead: high, Hold: high}
		_, state = Decide(state, in, now)
	}
	own := state.rivals.own[0]
	if got := own[len(own)-1].holds; got != 20 {
		t.Errorf("the rival that reacts holds %d, want the 20 that the demand needs", got)
	}
	if got := own[len(own)-2].holds; got != 80 {
		t.Errorf("the boldest that foresees holds %d, want the 80 of the lowest quantile", got)
	}
}

func TestWhatWasOverspentIsSaved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ real, want float64 }{{0, 90}, {90, 90}, {100, 81}, {1000, 72}, {88, 90 * 90.0 / 88}, {10, 94.5}} {
		v := &rivals{hpa: rival{spent: 100}, real: tc.real}
		if got := v.allowance(0.9); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("after spending %g: %g may be spent, want %g", tc.real, got, tc.want)
		}
	}
}

func TestGrowingIsNotDoneByTrifles(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.MaxInstances, c.UpStep = 110, 0.15
	for name, tc := range map[string]struct {
		current, needed int
		why             Code
		want            int
	}{
		"a little":                    {40, 41, ForecastAboveCommitted, 46},
		"a lot":                       {40, 70, DemandAboveCommitted, 70},
		"few instances":               {5, 6, DemandAboveCommitted, 6},
		"no further than the maximum": {100, 101, DemandAboveCommitted, 110},
		"needed beyond the maximum":   {100, 130, DemandAboveCommitted, 130}, // limit says so
		"the HPA's own answer":        {40, 41, UtilizationAboveTarget, 41},
		"nothing":                     {40, 40, DemandAboveCommitted, 40},
	} {
		if got, _ := next(c, tc.current, wish{needed: tc.needed, due: tc.needed, later: tc.needed, why: tc.why}, tc.needed); got != tc.want {
			t.Errorf("%s: from %d, needed %d: %d, want %d", name, tc.current, tc.needed, got, tc.want)
		}
	}
}
