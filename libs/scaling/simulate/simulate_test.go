package simulate

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script holds a given number of instances at each tick, the last one for ever, and keeps what it saw.
type script struct {
	wants []int
	see   func(o *Observation)
}

func (s *script) Name() string { return "script" }

func (s *script) Decide(o *Observation) int {
	if s.see != nil {
		s.see(o)
	}
	return s.wants[min(o.Tick, len(s.wants)-1)]
}

// world has ticks of 10 s, instances of 10 requests/s that keep the SLO up to 8, and a start-up of 20 s.
func world() Config {
	c := Default()
	c.Tick, c.Startup, c.Capacity, c.MaxUtilization = 10*time.Second, 20*time.Second, 10, 0.8
	c.MetricWindow, c.MetricEvery, c.RateDelay = 20*time.Second, 20*time.Second, 0
	return c
}

func play(t *testing.T, demand []float64, c Config, p Policy) Result {
	t.Helper()
	r, err := Run(demand, c, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunScores(t *testing.T) {
	t.Parallel()
	// 80 requests in a tick of 10 s are 8 requests/s: one instance, exactly at its limit. 240 take three.
	demand := []float64{80, 80, 240, 240, 240, 80, 80}
	got := play(t, demand, world(), &script{wants: []int{1, 3, 3, 3, 3, 1, 2}})
	want := Result{
		Policy: "script", Requests: 1040, Violated: 240, Refused: 140, InstanceSeconds: 10 * (1 + 3 + 3 + 3 + 3 + 1 + 2),
		UnderAccuracy: (2.0 / 3) / 7, UnderTimeshare: 1.0 / 7, Actions: 3, ActionsPerDay: 3 * 86400.0 / 70,
		ScaleUps: []ScaleUp{
			{Tick: 1, From: 1, To: 3, Lead: -10 * time.Second, Needed: true},
			{Tick: 6, From: 1, To: 2},
		},
		Ready: []int32{1, 1, 1, 3, 3, 1, 1}, Desired: []int32{1, 3, 3, 3, 3, 1, 2}, Need: []int32{1, 1, 3, 3, 3, 1, 1},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); d != "" {
		t.Error(d)
	}
	if s := got.ViolatedShare(); math.Abs(s-240.0/1040) > 1e-12 {
		t.Errorf("violated share %g", s)
	}
	if lead, ok := got.MeanLead(); !ok || lead != -10*time.Second {
		t.Errorf("mean lead %s, %t", lead, ok)
	}
}

func TestLeadOfScaleUps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		demand []float64
		wants  []int
		want   ScaleUp
	}{
		"early":          {[]float64{80, 80, 80, 80, 80, 160}, []int{1, 2}, ScaleUp{1, 1, 2, 20 * time.Second, true}},
		"just in time":   {[]float64{80, 80, 80, 160}, []int{1, 2}, ScaleUp{1, 1, 2, 0, true}},
		"after the fact": {[]float64{80, 160, 160, 160, 160, 160}, []int{1, 1, 1, 2}, ScaleUp{3, 1, 2, -40 * time.Second, true}},
		"released again": {[]float64{80, 80, 80, 80, 80, 160}, []int{1, 2, 2, 1}, ScaleUp{1, 1, 2, 0, false}},
	} {
		if got := play(t, tc.demand, world(), &script{wants: tc.wants}).ScaleUps[0]; got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestSurplusIsScored(t *testing.T) {
	t.Parallel()
	got := play(t, []float64{80, 80, 0, 0}, world(), &script{wants: []int{3}})
	// At the start there is what the first tick needs; two more are ready from the third tick.
	if got.OverTimeshare != 0.5 || got.OverAccuracy != 3*0.5 || got.Violated != 0 {
		t.Errorf("over %g of the time by %g, %g violated", got.OverTimeshare, got.OverAccuracy, got.Violated)
	}
}

func TestNoCapacityViolatesEverything(t *testing.T) {
	t.Parallel()
	c := world()
	c.Min, c.Initial = 0, 0
	got := play(t, []float64{0, 80, 80, 80}, c, &script{wants: []int{0, 1}})
	if got.Violated != 160 || got.Refused != 160 {
		t.Errorf("%g violated, %g refused; want the 160 before the first instance was ready", got.Violated, got.Refused)
	}
}

func TestQueueCarriesOverload(t *testing.T) {
	t.Parallel()
	c := world()
	demand := []float64{150, 0, 60, 60}
	plain := play(t, demand, c, &script{wants: []int{1}})
	if plain.Violated != 150 {
		t.Errorf("%g violated without a queue, want 150", plain.Violated)
	}
	c.Initial, c.Patience = 1, 4*time.Second
	plain = play(t, demand, c, &script{wants: []int{1}})
	// Of 50 too many, 40 wait and 10 are refused; the queue drains in the idle tick.
	if plain.Violated != 150 || plain.Refused != 10 {
		t.Errorf("%g violated, %g refused; want 150, 10", plain.Violated, plain.Refused)
	}
	demand[1] = 60
	if queued := play(t, demand, c, &script{wants: []int{1}}); queued.Violated != 150+60 {
		t.Errorf("%g violated; want those behind the queue of 40 too", queued.Violated)
	}
}

func TestMissingDemandIsNotScored(t *testing.T) {
	t.Parallel()
	var seen []float64
	var cpu []float64
	p := &script{wants: []int{1}, see: func(o *Observation) {
		seen = append(seen, o.Rate())
		cpu = append(cpu, o.Utilization())
	}}
	got := play(t, []float64{40, 40, math.NaN(), math.NaN(), 40}, world(), p)
	if got.Requests != 120 || got.Need[2] != -1 || !math.IsNaN(seen[2]) {
		t.Errorf("%g requests, need %d, seen %g", got.Requests, got.Need[2], seen[2])
	}
	if cpu[4] != 0.4 {
		t.Errorf("utilization %g after missing ticks, want the last known 0.4", cpu[4])
	}
}

func TestMissingDemandIsHeldAsLoad(t *testing.T) {
	t.Parallel()
	var last float64
	p := &script{wants: []int{4, 4, 4, 2}, see: func(o *Observation) { last = o.Utilization() }}
	demand := []float64{80, 80, math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	c := world()
	c.Initial = 4
	play(t, demand, c, p)
	if math.Abs(last-0.4) > 1e-9 {
		t.Errorf("utilization %g of two instances where four had 0.2, want 0.4", last)
	}
}

func TestPoliciesSeeDelayedNumbers(t *testing.T) {
	t.Parallel()
	c := world()
	c.RateDelay = 20 * time.Second
	var rates, cpu []float64
	p := &script{wants: []int{1, 2}, see: func(o *Observation) {
		rates = append(rates, o.Rate())
		cpu = append(cpu, o.Utilization())
	}}
	play(t, []float64{10, 20, 30, 40, 50, 60, 70}, c, p)
	if d := cmp.Diff([]float64{nan(), nan(), 1, 2, 3, 4, 5}, rates, nanEqual); d != "" {
		t.Errorf("rates:\n%s", d)
	}
	// Published every two ticks over two ticks; from tick 3 on two instances share the load.
	// At the fifth tick the first instance was used 0.3 and 0.2 over the window, the second, ready for half of it, 0 and 0.2.
	half := (0.25 + 0.1) / 2
	want := []float64{nan(), nan(), 0.15, 0.15, half, half, 0.275}
	if d := cmp.Diff(want, cpu, nanEqual); d != "" {
		t.Errorf("utilization:\n%s", d)
	}
}

func nan() float64 { return math.NaN() }

var nanEqual = cmp.Comparer(func(a, b float64) bool {
	return math.Abs(a-b) < 1e-9 || math.IsNaN(a) && math.IsNaN(b)
})

func TestLoadIsWhatWasUsed(t *testing.T) {
	t.Parallel()
	var load []float64
	p := &script{wants: []int{1, 2}, see: func(o *Observation) { load = append(load, o.Load) }}
	play(t, []float64{10, 20, 30, 40, 50}, world(), p)
	// 1 and 2, then 3 and 4 requests/s at 10 per instance, however many shared them.
	if d := cmp.Diff([]float64{0, 0, 0.15, 0.15, 0.35}, load, nanEqual); d != "" {
		t.Error(d)
	}
}

func TestFleetReleasesTheNewestFirst(t *testing.T) {
	t.Parallel()
	var groups [][]Group
	p := &script{wants: []int{2, 4, 5, 3, 3, 1}, see: func(o *Observation) {
		groups = append(groups, append([]Group(nil), o.Fleet...))
	}}
	c := world()
	c.Initial = 2
	got := play(t, make([]float64, 7), c, p)
	if d := cmp.Diff([]int32{2, 2, 2, 3, 3, 1, 1}, got.Ready); d != "" {
		t.Error(d)
	}
	// At the fifth tick: the two from the start, and one left of those ordered at the second.
	last := groups[4]
	if len(last) != 2 || last[1].Count != 1 || !last[1].Ready || last[1].Age != 30*time.Second || last[1].ReadyAge != 10*time.Second {
		t.Errorf("fleet %+v", last)
	}
}

func TestInstanceNotYetMeasuredIsMarked(t *testing.T) {
	t.Parallel()
	var at3 []Group
	p := &script{wants: []int{1, 2}, see: func(o *Observation) {
		if o.Tick == 3 {
			at3 = append(at3, o.Fleet...)
		}
	}}
	play(t, []float64{40, 40, 40, 40, 40}, world(), p)
	if len(at3) != 2 || !at3[0].Measured || at3[1].Measured || !at3[1].Ready {
		t.Errorf("fleet %+v: want the first measured and the second ready but not yet measured", at3)
	}
}

func TestOldGroupsMerge(t *testing.T) {
	t.Parallel()
	wants := make([]int, 2000)
	for i := range wants {
		wants[i] = 1 + i/2
	}
	most := 0
	p := &script{wants: wants, see: func(o *Observation) { most = max(most, len(o.Fleet)) }}
	play(t, make([]float64, len(wants)), world(), p)
	if limit := ticks(settledAfter, world().Tick)/2 + 5; most > limit {
		t.Errorf("%d groups, want at most %d", most, limit)
	}
}

func TestWarmupIsPlayedButNotScored(t *testing.T) {
	t.Parallel()
	c := world()
	c.Warmup = 30 * time.Second
	wants := []int{1, 2, 3, 3, 1}
	got := play(t, []float64{800, 800, 80, 80, 80}, c, &script{wants: wants})
	if got.Requests != 160 || got.Violated != 0 || got.InstanceSeconds != 40 || got.Actions != 1 || len(got.ScaleUps) != 0 {
		t.Errorf("%+v: want only the last two ticks scored", got)
	}
	if got.ActionsPerDay != 86400.0/20 || len(got.Ready) != 5 {
		t.Errorf("%g actions per day over %d ticks", got.ActionsPerDay, len(got.Ready))
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	t.Parallel()
	if _, err := Run([]float64{1, -1}, world(), &script{wants: []int{1}}); err == nil || !strings.Contains(err.Error(), "tick 1") {
		t.Errorf("negative demand: %v", err)
	}
	bad := Config{Capacity: nan(), MaxUtilization: 2, Max: -1, Startup: -1}
	_, err := Run(nil, bad, &script{wants: []int{1}})
	for _, name := range []string{"tick", "capacity", "max_utilization", "instances", "startup"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if r := play(t, nil, world(), &script{wants: []int{1}}); r.ViolatedShare() != 0 || r.Requests != 0 {
		t.Errorf("no demand gives %+v", r)
	}
}
