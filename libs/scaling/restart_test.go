package scaling

import (
	"math"
	"testing"
	"time"
)

// rerun is two days of a wave under the HPA's own bill, each with its maximum, with a predictor that ends every six hours of the
// second day and is away for a minute, what it remembers then made anew by restart; nil for a pause in which nothing is forgotten.
// It returns what the second day cost and violated, and how often the HPA was followed.
func rerun(t *testing.T, most [2]int, restart func(State, Input, time.Time) State) (spent, violated float64, followed int) {
	t.Helper()
	c := DefaultConfig()
	c.Imbalance, c.Smoothing, c.Budget, c.BudgetMemory = 0, 0, 1, 24*time.Hour
	const startup, away, every, day = 8, 4, 1440, 5760 // ticks
	demand, forecast := wave(0.1), spread(0.1, 1)
	var s State
	var held []float64
	desired := int(demand(0)/60) + 1
	for i := range 2 * day {
		now := start.Add(time.Duration(i) * c.Interval)
		c.MaxInstances = most[i/day]
		ready := float64(desired)
		for _, h := range held[max(0, i-startup):] {
			ready = math.Min(ready, h)
		}
		if gone := i >= day && i%every < away; !gone {
			q := forecast(i)
			in := Input{
				Config: c, Startup: startup * c.Interval, Instances: Instances{Desired: desired, Ready: int(ready)},
				Demand: []Point{{now, demand(i)}}, Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100},
				Utilization: Utilization{Share: demand(i) * 0.85 / 100 / ready, At: now.Add(-c.Interval), Instances: ready},
				Forecast:    Forecast{Issued: now, Lead: q, Hold: q, Earned: true},
			}
			if i >= day && i%every == away && restart != nil {
				s = restart(s, in, now)
			}
			var d Decision
			if d, s = Decide(s, in, now); i >= day && (has(d, HPAUntilKnown) || has(d, HPAFollowed) || has(d, HPAForCalm)) {
				followed++
			}
			desired = d.Production.Instances
		}
		held = append(held, float64(desired))
		if i >= day {
			spent += float64(desired)
			if demand(i) > 100*math.Min(ready, float64(desired)) {
				violated += demand(i)
			}
		}
	}
	return spent, violated, followed
}

// Four restarts a day cost users nothing beside the minutes they last, where without memory they are served as the HPA would for hours each time.
func TestRestartsCostNoMoreThanPauses(t *testing.T) {
	t.Parallel()
	same := [...]int{1000, 1000}
	spent, violated, followed := rerun(t, same, nil)
	forgot, forgotViolated, forgotFollowed := rerun(t, same, func(State, Input, time.Time) State { return State{} })
	kept, keptViolated, keptFollowed := rerun(t, same, resume(t))
	t.Logf("paused            %.0f instance-intervals, %.4g requests violated, the HPA followed %d times", spent, violated, followed)
	t.Logf("with its memory   %.0f instance-intervals, %.4g requests violated, the HPA followed %d times", kept, keptViolated, keptFollowed)
	t.Logf("without memory    %.0f instance-intervals, %.4g requests violated, the HPA followed %d times", forgot, forgotViolated, forgotFollowed)
	if followed != 0 || keptFollowed != 0 || forgotFollowed < 2000 {
		t.Errorf("the HPA was followed %d times with memory, %d without, %d where nothing ended", keptFollowed, forgotFollowed, followed)
	}
	if kept > 1.03*spent || keptViolated > 1.15*violated || keptViolated > 0.8*forgotViolated {
		t.Errorf("%.0f spent and %.4g violated with memory, %.0f and %.4g where nothing ended, %.4g without memory", kept, keptViolated, spent, violated, forgotViolated)
	}
}

func resume(t *testing.T) func(State, Input, time.Time) State {
	return func(s State, in Input, now time.Time) State { return reread(t, s).Resume(in, now) }
}

// What all violated because the maximum forbade more says nothing of another maximum: it is learnt anew, within hours. All else is
// kept, for to learn anew is to do what the HPA does.
func TestARaisedMaximumIsNotJudgedByTheFormer(t *testing.T) {
	t.Parallel()
	_, least, _ := rerun(t, [...]int{1000, 1000}, resume(t))
	for _, tc := range []struct {
		most     [2]int
		followed int // at most
	}{
		{[...]int{20, 1000}, 1000}, // 30 are needed at the peaks
		{[...]int{28, 1000}, 1000},
		{[...]int{100, 1000}, 0},
	} {
		_, violated, followed := rerun(t, tc.most, resume(t))
		t.Logf("%v: %.4g requests violated, %.4g under the higher from the beginning, the HPA followed %d times", tc.most, violated, least, followed)
		if followed > tc.followed || tc.followed == 0 && violated != least {
			t.Errorf("maximum %v: the HPA followed %d times, want at most %d; %.4g violated", tc.most, followed, tc.followed, violated)
		}
	}
}
