package scaling

import (
	"math"
	"slices"
	"testing"
	"time"
)

// visits plays demands, one per minute, against what production holds, and returns what it held at each.
func visits(c Config, demand ...float64) (held []int, last Decision) {
	desired := 40
	var state State
	for i, rate := range demand {
		now := start.Add(time.Duration(i) * time.Minute)
		in := Input{
			Config: c, Startup: time.Minute, Instances: Instances{desired, desired}, Demand: []Point{{now, rate}},
			Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100},
		}
		if c.Budget > 0 {
			foreseen := []Quantile{{0.5, rate}, {0.9, 1.1 * rate}}
			in.Forecast = Forecast{Issued: now, Lead: foreseen, Hold: foreseen}
			in.Utilization = Utilization{Share: 0.85 * rate / 100 / float64(desired), At: now, Instances: float64(desired)}
		}
		last, state = Decide(state, in, now)
		desired = last.Production.Instances
		held = append(held, desired)
	}
	return held, last
}

func minutes(n int, rate float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = rate
	}
	return out
}

func outageConfig() Config {
	c := DefaultConfig()
	c.MaxInstances, c.Imbalance, c.Smoothing = 100, 0, 0
	return c
}

func TestNothingIsReleasedInAnOutage(t *testing.T) {
	t.Parallel()
	before := append(minutes(12*60, 3000), minutes(60, 2000)...) // 20 at least
	held, last := visits(outageConfig(), append(before, minutes(60, 10)...)...)
	if got := held[len(held)-1]; got != 20 || !has(last, ScaleDownHeldInOutage) {
		t.Errorf("%d instances after an hour of next to no demand, want the 20 from before: %v", got, last.Reasons)
	}
	// Everybody is back at once.
	held, _ = visits(outageConfig(), append(append(before, minutes(60, 10)...), minutes(3, 1200)...)...)
	if got := held[len(held)-1]; got != 20 {
		t.Errorf("%d instances while the demand comes back, want 20", got)
	}
}

// Who follows the HPA does not follow it into an outage, nor out of it: it starts with what little it kept.
func TestTheHPAIsNotFollowedIntoAnOutage(t *testing.T) {
	t.Parallel()
	c := outageConfig()
	c.Budget = 1 // the HPA is followed until a day was seen
	before := minutes(13*60, 2000)
	held, _ := visits(c, before...)
	holds := held[len(held)-1]
	held, last := visits(c, append(before, minutes(60, 10)...)...)
	if got := held[len(held)-1]; got != holds || !has(last, HPAUntilKnown) || !has(last, ScaleDownHeldInOutage) || last.HPAInstances >= holds {
		t.Errorf("%d instances after an hour of next to no demand, want the %d from before, and the HPA with less than its %d: %v", got, holds, last.HPAInstances, last.Reasons)
	}
	held, last = visits(c, append(append(before, minutes(60, 10)...), minutes(3, 1900)...)...)
	if got := slices.Min(held[len(before):]); got != holds || !has(last, ScaleDownHeldByPast) {
		t.Errorf("%d instances while the demand comes back, want %d: %v", got, holds, last.Reasons)
	}
	held, _ = visits(c, append(append(before, minutes(60, 10)...), minutes(30, 1200)...)...)
	if got := held[len(held)-1]; got >= holds {
		t.Errorf("%d instances half an hour after the outage, want what the HPA holds for the lower demand", got)
	}
}

// Who set a budget waits for the end of an outage with what was saved before, and no longer; but where next to nothing is left it
// is one beyond doubt.
func TestAnOutageIsWaitedForWithWhatWasSaved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		budget, left float64
		waits        bool
	}{{0.85, 300, true}, {1, 300, false}, {1, 100, true}} {
		c := outageConfig()
		c.Budget, c.BudgetMemory = tc.budget, 48*time.Hour
		before := slices.Concat(minutes(12*60, 2000), minutes(12*60, 1000), minutes(12*60, 2000))
		held, _ := visits(c, before...)
		holds := held[len(held)-1]
		held, last := visits(c, append(before, minutes(40, tc.left)...)...)
		if got := held[len(held)-1]; (got == holds) != tc.waits || has(last, ScaleDownHeldInOutage) != tc.waits {
			t.Errorf("budget %.2f: %d instances after 40 minutes of a demand of %g, %d before: %v", tc.budget, got, tc.left, holds, last.Reasons)
		}
	}
}

// An outage takes minutes to come and to go. On the way there is a demand with which users may as well have left for good.
func TestTheWayIntoAnOutageAndOutOfItIsPartOfIt(t *testing.T) {
	t.Parallel()
	c := outageConfig()
	c.Budget, c.BudgetMemory = 1, 48*time.Hour // nothing is saved
	before := slices.Concat(minutes(12*60, 2000), minutes(12*60, 1000), minutes(12*60, 2000))
	held, _ := visits(c, before...)
	holds := held[len(held)-1]
	way := slices.Concat(minutes(4, 600), minutes(4, 400), minutes(30, 20), minutes(4, 400), minutes(4, 800), minutes(2, 1900))
	held, last := visits(c, append(before, way...)...)
	if got := slices.Min(held[len(before):]); got != holds {
		t.Errorf("%d instances at the least, want the %d from before: %v", got, holds, last.Reasons)
	}
}

func TestAnOutageIsBelievedInTime(t *testing.T) {
	t.Parallel()
	held, last := visits(outageConfig(), append(minutes(13*60, 2000), minutes(3*60, 10)...)...)
	if got := held[len(held)-1]; got != 1 || has(last, ScaleDownHeldInOutage) {
		t.Errorf("%d instances three hours after the demand has gone, want 1", got)
	}
}

func TestAnEbbIsNoOutage(t *testing.T) {
	t.Parallel()
	never := outageConfig()
	never.Outage = 0
	for name, tc := range map[string]struct {
		c      Config
		demand []float64
	}{
		"as low as nights are":  {outageConfig(), append(append(minutes(4*60, 100), minutes(9*60, 2000)...), minutes(30, 60)...)},
		"after a busy weekend":  {outageConfig(), append(append(minutes(4*60, 100), minutes(60*60, 2000)...), minutes(30, 60)...)},
		"too little seen":       {outageConfig(), append(minutes(11*60, 2000), minutes(30, 10)...)},
		"switched off":          {never, append(minutes(13*60, 2000), minutes(30, 10)...)},
		"no more than half off": {outageConfig(), append(minutes(13*60, 2000), minutes(30, 1010)...)},
	} {
		held, last := visits(tc.c, tc.demand...)
		if got := held[len(held)-1]; got > 11 || has(last, ScaleDownHeldInOutage) {
			t.Errorf("%s: %d instances after half an hour of little demand", name, got)
		}
	}
}

// A shutdown that the calendar knows of is no outage, nor does it teach that demand falls so low; one on top of it is.
func TestWhoStaysAwayForAKnownEventIsNotMissed(t *testing.T) {
	t.Parallel()
	type span struct {
		minutes    int
		rate, away float64
	}
	play := func(spans ...span) (held int, last Decision) {
		var state State
		held, now := 40, start
		for _, s := range append([]span{{13 * 60, 2000, 0}}, spans...) {
			for range s.minutes {
				last, state = Decide(state, Input{
					Config: outageConfig(), Startup: time.Minute, Instances: Instances{held, held}, Demand: []Point{{now, s.rate}},
					Forecast: Forecast{Away: s.away}, Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100},
				}, now)
				held, now = last.Production.Instances, now.Add(time.Minute)
			}
		}
		return held, last
	}
	for name, tc := range map[string]struct {
		spans []span
		want  int
	}{
		"nobody comes":                 {[]span{{30, 0, 1}}, 1},
		"a fifth comes":                {[]span{{30, 400, 0.8}}, 4},
		"nor does the fifth":           {[]span{{30, 100, 0.8}}, 20},
		"what is known is no number":   {[]span{{30, 10, math.NaN()}}, 20},
		"outage after nobody":          {[]span{{180, 0, 1}, {300, 2000, 0}, {30, 200, 0}}, 20},
		"outage after a fifth":         {[]span{{180, 400, 0.8}, {300, 2000, 0}, {30, 800, 0}}, 20},
		"an outage that is then known": {[]span{{30, 0, 0}, {30, 0, 1}}, 1},
	} {
		if got, last := play(tc.spans...); got != tc.want || has(last, ScaleDownHeldInOutage) != (tc.want == 20) {
			t.Errorf("%s: %d instances, want %d: %v", name, got, tc.want, last.Reasons)
		}
	}
}

func TestEbbsForget(t *testing.T) {
	t.Parallel()
	var e ebbs
	at := func(h float64) time.Time { return start.Add(time.Duration(h * float64(time.Hour))) }
	for h := 0.0; h < 200; h += 0.05 {
		rate := 100.0
		if h < 30 {
			rate = 10
		}
		e = e.push(rate, at(h), 2*time.Hour)
		if h > 15 && h < 190 && e.low(at(h), 2*time.Hour) != 10 {
			t.Fatalf("the least demand of the week before hour %.2f is %g, want 10", h, e.low(at(h), 2*time.Hour))
		}
	}
	if got := e.low(at(200), 2*time.Hour); got != 100 {
		t.Errorf("the least demand of the week is %g, want 100", got)
	}
	if n := len(e.past); n > outagePast*outageSpans+1 {
		t.Errorf("%d spans are kept", n)
	}
	if e = e.push(5, at(1), 2*time.Hour); e.low(at(1), 2*time.Hour) != 0 {
		t.Error("a clock that went back left a past behind")
	}
}

func TestNothingIsReleasedAtOnceAfterATimeWithoutData(t *testing.T) {
	t.Parallel()
	demand := append(minutes(30, 2000), minutes(20, -1)...) // not known
	held, _ := visits(outageConfig(), append(demand, 900)...)
	if got := held[len(held)-1]; got != 20 {
		t.Errorf("%d instances at the first demand after 20 minutes without any, want the 20 that ran", got)
	}
	held, _ = visits(outageConfig(), append(demand, minutes(10, 900)...)...)
	if got := held[len(held)-1]; got > 10 {
		t.Errorf("%d instances ten minutes later, want 9 or 10", got)
	}
}
