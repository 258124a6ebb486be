package policy

import (
	"math"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// days repeats a daily pattern: a base of 850 requests/s and a plateau of 3,400 from 9:00 to 10:00.
func days(n int) []float64 {
	out := make([]float64, n*5760)
	for t := range out {
		out[t] = 15 * 850
		if minute := t / 4 % 1440; minute >= 540 && minute < 600 {
			out[t] = 15 * 3400
		}
	}
	return out
}

const nine = 9 * 240 // tick of 9:00

func TestRepeatingPeaksAreMetByWhatRepeats(t *testing.T) {
	t.Parallel()
	demand, c := days(4), simulate.Default()
	c.Startup = 2 * time.Minute
	for _, tc := range []struct {
		policy simulate.Policy
		early  int // ticks before nine at which it must have grown
	}{
		{NewCron(DefaultHPA(), 1), -9},
		{NewHourly(DefaultHPA(), 0.85), 12},
		{NewReplay(DefaultHPA(), 0.85, 0.15), 0},
		{NewHoltWinters(DefaultHPA(), Smoothing{0.5, 0.01, 0.5}), 0},
	} {
		r := play(t, demand, c, tc.policy)
		at := func(day, before int) int32 { return r.Ready[day*5760+nine-before] }
		if got := at(0, tc.early); got >= 40 {
			t.Errorf("%s: %d instances ready for a peak never seen", r.Policy, got)
		}
		if got := at(3, tc.early); got < 40 {
			t.Errorf("%s: %d instances ready %d ticks before the peak of the last day, want 40", r.Policy, got, tc.early)
		}
		// Noon is quiet again: none of them holds the peak all day.
		if got := r.Ready[3*5760+15*240]; got > 20 {
			t.Errorf("%s: %d instances in the afternoon", r.Policy, got)
		}
	}
}

func TestHourlyNeverScalesIn(t *testing.T) {
	t.Parallel()
	// Two quiet days, then a loud one: the forecast of a quiet hour must leave the HPA's instances alone.
	demand := days(3)
	for i := 2 * 5760; i < len(demand); i++ {
		demand[i] = 15 * 3400
	}
	hpa := play(t, demand, simulate.Default(), NewHPA(DefaultHPA()))
	got := play(t, demand, simulate.Default(), NewHourly(DefaultHPA(), 0.85))
	if a, b := got.Desired[len(demand)-1], hpa.Desired[len(demand)-1]; a < b {
		t.Errorf("%d instances, the HPA alone %d", a, b)
	}
}

func TestReplayNeedsAPeriod(t *testing.T) {
	t.Parallel()
	// A peak on one day only: the days do not agree, so the second day's replay is refused.
	demand := days(4)
	for i := range demand {
		if i/5760 != 2 {
			demand[i] = 15 * 850
		}
	}
	r := play(t, demand, simulate.Default(), NewReplay(DefaultHPA(), 0.85, 0.15))
	if got := r.Ready[3*5760+nine+40]; got >= 40 {
		t.Errorf("%d instances for a peak that did not repeat", got)
	}
}

func TestWindowKeepsThePeak(t *testing.T) {
	t.Parallel()
	r := play(t, days(1), simulate.Default(), NewWindow(0.85, 2*time.Hour))
	if got := r.Desired[12*240-10]; got != 40 {
		t.Errorf("%d instances shortly before two hours after the peak, want 40", got)
	}
	if got := r.Desired[12*240+40]; got != 10 {
		t.Errorf("%d instances later, want 10", got)
	}
}

func TestUnknownDemandIsNotZeroToAnyPolicy(t *testing.T) {
	t.Parallel()
	demand := days(3)
	for i := 2 * 5760; i < len(demand); i++ {
		demand[i] = math.NaN()
	}
	before := 2*5760 - 1
	for _, p := range []simulate.Policy{
		NewHPA(DefaultHPA()), NewCron(DefaultHPA(), 1), NewHourly(DefaultHPA(), 0.85), NewReplay(DefaultHPA(), 0.85, 0.15),
		NewHoltWinters(DefaultHPA(), Smoothing{0.5, 0.01, 0.5}), NewWindow(0.85, time.Hour),
	} {
		r := play(t, demand, simulate.Default(), p)
		if last := r.Desired[len(demand)-1]; last < r.Desired[before] {
			t.Errorf("%s: %d instances a day after the last measurement, %d before", r.Policy, last, r.Desired[before])
		}
	}
}
