package scaling

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// learnt is a state after a day under a budget, which knows what risk is worth taking, and the time of its last decision.
func learnt(t *testing.T) (State, time.Time) {
	t.Helper()
	var s State
	var d Decision
	var now time.Time
	for i := range 5760 {
		var in Input
		in, now = day(i)
		d, s = Decide(s, in, now)
	}
	if has(d, HPAUntilKnown) {
		t.Fatalf("nothing learnt within a day: %v", texts(d))
	}
	return s, now
}

// again is the input of the day at a later time.
func again(now time.Time) Input {
	in, _ := day(0)
	refresh(&in, now)
	return in
}

func TestWhatWasLearntHoldsAfterAGap(t *testing.T) {
	t.Parallel()
	s, last := learnt(t)
	if _, fresh := Decide(State{}, again(last), last); fresh.Played() > time.Minute {
		t.Fatal("a start without memory has played")
	}
	for gap, want := range map[time.Duration]struct {
		known, fleets, loads bool
	}{
		0:                   {true, true, true},
		time.Minute:         {true, true, true},
		4 * time.Minute:     {true, true, true},
		time.Hour:           {true, false, true},
		4 * time.Hour:       {true, false, false},  // longer than sizes are compared over
		11 * time.Hour:      {true, false, false},  // faded, and yet enough
		13 * time.Hour:      {false, false, false}, // older than the memory of the budget
		9000 * time.Hour:    {false, false, false},
		-30 * time.Second:   {true, true, true},
		-time.Hour:          {false, false, false},
		-9000 * time.Hour:   {false, false, false},
		time.Duration(1e18): {false, false, false},
	} {
		now := last.Add(gap)
		in := again(now)
		resumed := s.Resume(in, now)
		if got := resumed.Played(); got > s.Played() || want.known && gap > 0 && got > time.Duration(float64(s.Played())*math.Exp(-gap.Hours()/12)+1) {
			t.Errorf("after %s: %s played of %s: the gap was counted, or did not fade", gap, got, s.Played())
		}
		if got := resumed.rivals.own[0][0].holds > 0; got != want.fleets {
			t.Errorf("after %s: fleets on paper go on: %t", gap, got)
		}
		if got := resumed.loads != nil; got != want.loads {
			t.Errorf("after %s: a day of demand: %t", gap, got)
		} else if got && resumed.loads.at.Sub(resumed.loads.since)+max(0, gap) != s.loads.at.Sub(s.loads.since) {
			t.Errorf("after %s: the day is %s long, it was %s", gap, resumed.loads.at.Sub(resumed.loads.since), s.loads.at.Sub(s.loads.since))
		}
		d, next := Decide(resumed, in, now)
		if got := !has(d, HPAUntilKnown); got != want.known {
			t.Errorf("after %s: a verdict: %t: %v", gap, got, texts(d))
		}
		if more := next.Played() - resumed.Played(); more > in.Config.Interval {
			t.Errorf("after %s: the first decision played %s", gap, more)
		}
		if got, want := d.Production.Instances, in.Instances.Desired; got < want {
			t.Errorf("after %s: shrunk from %d to %d", gap, want, got)
		}
	}
}

// A state of another workload, of another size of it, or of long ago: the first decision does not shrink what runs, and so does
// none until what runs was not needed for as long as at any start.
func TestAResumedStateShrinksNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	var s State
	now := start
	held := 0
	for i := range 8_000 {
		if i%10 == 0 {
			s = State{}
		}
		now = now.Add(time.Duration(r.Int64N(int64(time.Minute))))
		in := anyInput(r, now)
		in.Config.MaxInstances = min(in.Config.MaxInstances, 1<<20)
		in.Config.MinInstances = min(in.Config.MinInstances, 1<<20)
		_, s = Decide(s, in, now)

		later := now.Add(time.Duration(r.ExpFloat64() * float64(time.Hour)))
		foreign := anyInput(r, later)
		if r.IntN(2) == 0 {
			foreign = again(later)
			foreign.Instances = Instances{Desired: 1 + r.IntN(900), Ready: r.IntN(900)}
			foreign.Utilization.Share = r.Float64()
		}
		d, _ := Decide(s.Resume(foreign, later), foreign, later)
		checkPromises(t, i, foreign, d, later)
		c := foreign.Config.usable()
		if want := min(foreign.Instances.held(), c.MaxInstances); d.Production.Instances < want && c.DownHold > 0 {
			t.Fatalf("case %d: shrunk from %d to %d: %v", i, want, d.Production.Instances, texts(d))
		} else if want > 1 {
			held++
		}
	}
	if held < 400 {
		t.Errorf("only %d cases held anything", held)
	}
}

// The HPA on paper begins with what runs and releases none of it for as long as its patience lasts.
func TestTheHPAOnPaperIsPatientAfterARestart(t *testing.T) {
	t.Parallel()
	s, last := learnt(t)
	now := last.Add(2 * time.Minute)
	in := again(now)
	in.Config.Budget, in.Config.BudgetMemory = 1, 1000*time.Hour // far too little was seen of that
	in.Instances = Instances{Desired: 300, Ready: 300}
	in.Utilization = Utilization{Share: 0.05, Instances: 300}
	s = s.Resume(in, now)
	if s.hpaHolds != 300 {
		t.Errorf("it holds %d, want what runs", s.hpaHolds)
	}
	patience := now.Add(in.Config.HPA.DownHold)
	var d Decision
	for ; now.Before(patience); now = now.Add(in.Config.Interval) {
		refresh(&in, now)
		if d, s = Decide(s, in, now); d.Production.Instances < 300 || !has(d, HPAUntilKnown) {
			t.Fatalf("%s before its patience ends: %d instances, %v", patience.Sub(now), d.Production.Instances, texts(d))
		}
	}
	for range 40 {
		now = now.Add(in.Config.Interval)
		refresh(&in, now)
		d, s = Decide(s, in, now)
	}
	if d.Production.Instances >= 300 {
		t.Errorf("still %d instances", d.Production.Instances)
	}
}

// A move that failed is not tried again after a restart, and one under way goes on, with the time it had left.
func TestAMoveOutlivesARestart(t *testing.T) {
	t.Parallel()
	var s State
	in, now := day(0)
	i := 0
	for ; s.Heading() == nil; i++ {
		if i == 2000 {
			t.Fatal("no move")
		}
		in, now = day(i)
		_, s = Decide(s, in, now)
	}
	gap := 10 * time.Minute
	later := now.Add(gap)
	refresh(&in, later)
	resumed := reread(t, s).Resume(in, later)
	d, next := Decide(resumed, in, later)
	if got := next.Heading(); got == nil || got.Name != "large" || !has(d, SizeChange) && !has(d, SizeChangeGrows) {
		t.Errorf("on the way to %+v: %v", got, texts(d))
	}
	if left, want := resumed.move.since, s.move.since.Add(gap); !left.Equal(want) {
		t.Errorf("began at %s, want %s", left, want)
	}
	for ; s.move.quiet.IsZero(); i++ {
		in, now = day(i)
		_, s = Decide(s, in, now)
	}
	resumed = reread(t, s).Resume(in, now.Add(time.Minute))
	if !resumed.move.quiet.Equal(s.move.quiet) {
		t.Errorf("quiet until %s, want %s", resumed.move.quiet, s.move.quiet)
	}
	if forgotten := s.Resume(in, now.Add(24*time.Hour)); forgotten.move != (move{}) {
		t.Errorf("a day later it still holds %+v", forgotten.move)
	}
}
