package scaling

import (
	"math"
	"testing"
	"time"
)

func TestTheFleetOnPaper(t *testing.T) {
	t.Parallel()
	fleet := resize([]cohort{{count: 3}}, 2, start)
	grown := resize(fleet, 4, start.Add(time.Minute))
	if got := resize(grown, -5, start); len(got) != 2 || got[0].count != 3 || got[1].count != 1 {
		t.Errorf("released %v, want the newest gone first", got)
	}
	if grown[1].count != 2 || len(resize(grown, -20, start)) != 0 {
		t.Errorf("%v: the given fleet was changed, or more released than there was", grown)
	}
	s := State{hpaFleet: grown}
	s.settleFleet(time.Minute, start.Add(90*time.Second))
	if len(s.hpaFleet) != 2 || s.hpaFleet[0].count != 5 || s.hpaFleet[1].count != 4 {
		t.Errorf("settled into %v", s.hpaFleet)
	}
}

// Instances that are still starting count as idle on the way up: asked again for the same load, the HPA asks for no more.
func TestTheHPAOnPaperCountsWhatIsStarting(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.MaxInstances = 100
	in := Input{Config: c, Startup: time.Hour, Instances: Instances{Desired: 10, Ready: 10}}
	var s State
	now := start
	for range 10 {
		in.Utilization = Utilization{Share: 1.05, At: now.Add(-time.Second), Instances: 10}
		if !s.stepHPA(in, c, now) {
			t.Fatal("the HPA is not known")
		}
		now = now.Add(c.HPA.Sync)
	}
	if s.hpaHolds != 15 {
		t.Errorf("holds %d for a load of 10.5 instances at 70 %%, want 15", s.hpaHolds)
	}
}

// Four decisions of a minute: the burst of the last met two instances, one of which was ready for the second half only.
func TestAMetricIsAMeanOfShares(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	seen := []glance{{at(-15), 9e9, 1}, {at(0), 10, 1}, {at(15), 10, 1}, {at(30), 10, 2}, {at(45), 70, 2}, {at(60), 9e9, 2}}
	l := loaded{at: at(60), now: at(70), window: time.Minute, load: 5} // a mean of 25 requests/s
	for since, want := range map[time.Time]float64{at(-300): 60.0 / 100 * 5, at(30): 40.0 / 100 * 5, at(61): 0} {
		if got, ok := l.share(seen, since); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("ready since %s: share %g, %t, want %g", since, got, ok, want)
		}
	}
	for name, none := range map[string][]glance{"nothing": nil, "too old": seen[:1], "too new": seen[5:], "no demand": {{at(15), 0, 1}}, "nobody ready": {{at(15), 10, 0}}} {
		if got, ok := l.share(none, at(0)); ok {
			t.Errorf("%s seen: share %g", name, got)
		}
	}
	if got, _ := l.share([]glance{{at(0), 1, 1}}, at(0)); got != 5 {
		t.Errorf("a single instance: share %g, want all of the load", got)
	}
	l.load = 1e12
	if got, _ := l.share(seen, at(0)); got != mostShare {
		t.Errorf("share %g is not bounded", got)
	}
}
