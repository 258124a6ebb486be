package policy

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// day is a smooth day of 15 s ticks between 500 and 3,500 requests/s, with a flash at noon.
func day() []float64 {
	out := make([]float64, 4*60*24)
	for t := range out {
		out[t] = 15 * (2000 - 1500*math.Cos(2*math.Pi*float64(t)/float64(len(out))))
	}
	for t := 4 * 60 * 12; t < 4*60*12+20; t++ {
		out[t] *= 1.5
	}
	return out
}

func play(t *testing.T, demand []float64, c simulate.Config, p simulate.Policy) simulate.Result {
	t.Helper()
	r, err := simulate.Run(demand, c, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOracleIsNeverShortAndNeverBeaten(t *testing.T) {
	t.Parallel()
	demand, c := day(), simulate.Default()
	c.Startup = 2 * time.Minute
	c.Initial = 10
	best := play(t, demand, c, NewOracle(demand, 0))
	if best.Violated != 0 {
		t.Errorf("the oracle violates %g requests", best.Violated)
	}
	spare := play(t, demand, c, NewOracle(demand, 0.1))
	if spare.InstanceSeconds <= best.InstanceSeconds {
		t.Errorf("a tenth in reserve costs %g, none costs %g", spare.InstanceSeconds, best.InstanceSeconds)
	}
	// Taking away a single instance at any moment makes it short: the oracle holds nothing it does not need.
	for _, at := range []int{700, 2000, 2884, 4000} {
		if r := play(t, demand, c, &lessOnce{NewOracle(demand, 0), at}); r.Violated == 0 {
			t.Errorf("an instance fewer at tick %d violates nothing", at)
		}
	}
}

// lessOnce is a policy with one instance fewer at one tick.
type lessOnce struct {
	*Oracle
	at int
}

func (p *lessOnce) Decide(o *simulate.Observation) int {
	n := p.Oracle.Decide(o)
	if o.Tick == p.at {
		return n - 1
	}
	return n
}

func TestHPAFollowsUtilization(t *testing.T) {
	t.Parallel()
	c := simulate.Default()
	c.Initial = 10
	demand := make([]float64, 80)
	for i := range demand {
		demand[i] = 15 * 1000
	}
	r := play(t, demand, c, NewHPA(DefaultHPA()))
	// 1000 requests/s on 10 instances are 100 %: ceil(10*100/70) = 15 at the first measurement, after 60 s, then 14.3
	// instances' worth at 67 % stays within the tolerance.
	if r.Desired[3] != 10 || r.Desired[4] != 15 || r.Desired[79] != 15 {
		t.Errorf("desired %v", r.Desired)
	}
}

func TestHPAHoldsWithoutMetrics(t *testing.T) {
	t.Parallel()
	h := NewHPA(DefaultHPA())
	o := &simulate.Observation{Config: simulate.Default(), Now: time.Unix(1000, 0), Desired: 7, Fleet: []simulate.Group{{Count: 7, Ready: true}}}
	if n := h.Decide(o); n != 7 {
		t.Errorf("%d instances without a metric, want 7", n)
	}
}

func TestHPASynchronises(t *testing.T) {
	t.Parallel()
	h := NewHPA(DefaultHPA())
	o := &simulate.Observation{
		Config: simulate.Default(), Now: time.Unix(1000, 0), Measured: time.Unix(990, 0), Desired: 10,
		Fleet: []simulate.Group{{Count: 10, Age: time.Hour, Ready: true, ReadyAge: time.Hour, Measured: true, Utilization: 0.7}},
	}
	if n := h.Decide(o); n != 10 {
		t.Fatalf("%d instances at the target, want 10", n)
	}
	o.Fleet[0].Utilization = 1
	o.Now = o.Now.Add(14 * time.Second)
	if n := h.Decide(o); n != 10 {
		t.Errorf("%d instances between synchronisations, want 10", n)
	}
	o.Now = o.Now.Add(time.Second)
	if n := h.Decide(o); n != 15 {
		t.Errorf("%d instances at 100 %%, want 15", n)
	}
}

func TestFasterCompressesTime(t *testing.T) {
	t.Parallel()
	got := DefaultHPA().Faster(15)
	want := HPAConfig{
		TargetPercent: 70, Sync: time.Second,
		Calculator: hpa.Calculator{ToleranceUp: 0.1, ToleranceDown: 0.1, CPUInitialization: 20 * time.Second, ReadinessDelay: 2 * time.Second},
		Behavior: hpa.Behavior{
			Up: hpa.Direction{Policies: []hpa.Policy{{Type: hpa.Pods, Value: 4, Period: time.Second}, {Type: hpa.Percent, Value: 100, Period: time.Second}}},
			Down: hpa.Direction{
				Stabilization: 20 * time.Second, Policies: []hpa.Policy{{Type: hpa.Percent, Value: 100, Period: time.Second}},
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if DefaultHPA().Behavior.Down.Stabilization != 5*time.Minute {
		t.Error("the default itself was changed")
	}
	// The same demand played 15 times faster is answered 15 times faster, tick by tick.
	c, fast := simulate.Default(), simulate.Default()
	fast.Tick, fast.Startup, fast.MetricWindow, fast.MetricEvery = time.Second, 4*time.Second, 4*time.Second, 4*time.Second
	slow := day()
	quick := make([]float64, len(slow))
	for i, v := range slow {
		quick[i] = v / 15
	}
	a, b := play(t, slow, c, NewHPA(DefaultHPA())), play(t, quick, fast, NewHPA(got))
	if d := cmp.Diff(a.Desired, b.Desired); d != "" {
		t.Errorf("desired instances differ:\n%s", d)
	}
}

func TestRateReactsAtOnce(t *testing.T) {
	t.Parallel()
	c := simulate.Default()
	demand := []float64{15 * 850, 15 * 850, 15 * 1700, 15 * 1700, math.NaN(), 0}
	r := play(t, demand, c, NewRate(0.85, hpa.DefaultBehavior()))
	if d := cmp.Diff([]int32{10, 10, 20, 20, 20, 20}, r.Desired); d != "" {
		t.Error(d)
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	r := play(t, []float64{0, 9e9}, simulate.Default(), NewStatic(7))
	if d := cmp.Diff([]int32{7, 7}, r.Desired); d != "" {
		t.Error(d)
	}
}

// foretold is a perfect forecaster.
type foretold struct {
	demand []float64
	earned bool
}

func (f foretold) Forecast(o *simulate.Observation, lead, hold time.Duration) scaling.Forecast {
	peak := func(d time.Duration) []scaling.Quantile {
		high := 0.0
		for t := o.Tick; t <= min(o.Tick+int(d/o.Config.Tick), len(f.demand)-1); t++ {
			high = math.Max(high, f.demand[t]/o.Config.Tick.Seconds())
		}
		return []scaling.Quantile{{Level: 0.5, PerSecond: high}}
	}
	return scaling.Forecast{Issued: o.Now, Earned: f.earned, Lead: peak(lead), Hold: peak(hold)}
}

func TestForeshadowBeatsTheHPAWithAGoodForecast(t *testing.T) {
	t.Parallel()
	demand, c := day(), simulate.Default()
	reactive := play(t, demand, c, NewHPA(DefaultHPA()))
	config := scaling.DefaultConfig()
	config.Imbalance = 0
	p := NewForeshadow(config, foretold{demand, true})
	got := play(t, demand, c, p)
	if got.Violated != 0 {
		t.Errorf("%g violated although everything was foreseen", got.Violated)
	}
	if reactive.Violated == 0 || got.InstanceSeconds > reactive.InstanceSeconds {
		t.Errorf("instance-seconds %g, the HPA's %g with %g violated", got.InstanceSeconds, reactive.InstanceSeconds, reactive.Violated)
	}
	if last := p.Last(); last.Policy != scaling.Predictive || last.HPAInstances == 0 {
		t.Errorf("last decision %+v", last)
	}
}

func TestForeshadowWithoutForecastIsNoWorseThanTheHPA(t *testing.T) {
	t.Parallel()
	demand, c := day(), simulate.Default()
	reactive := play(t, demand, c, NewHPA(DefaultHPA()))
	for name, f := range map[string]Forecaster{"none": nil, "untrusted": foretold{make([]float64, len(demand)), false}} {
		got := play(t, demand, c, NewForeshadow(scaling.DefaultConfig(), f))
		if got.Violated > reactive.Violated {
			t.Errorf("%s: %g violated, the HPA %g", name, got.Violated, reactive.Violated)
		}
	}
}

func TestForeshadowKeepsWhatItHasWithoutDemand(t *testing.T) {
	t.Parallel()
	demand := make([]float64, 400)
	for i := range demand {
		demand[i] = math.NaN()
		if i < 20 {
			demand[i] = 15 * 850
		}
	}
	r := play(t, demand, simulate.Default(), NewForeshadow(scaling.DefaultConfig(), nil))
	if r.Desired[399] < r.Desired[19] {
		t.Errorf("%d instances at the end, %d when the demand was last known", r.Desired[399], r.Desired[19])
	}
}

func BenchmarkHPAFourWeeks(b *testing.B) {
	benchmark(b, func() simulate.Policy { return NewHPA(DefaultHPA()) })
}
func BenchmarkForeshadowFourWeeks(b *testing.B) {
	benchmark(b, func() simulate.Policy { return NewForeshadow(scaling.DefaultConfig(), nil) })
}

func benchmark(b *testing.B, p func() simulate.Policy) {
	var demand []float64
	for range 28 {
		demand = append(demand, day()...)
	}
	for b.Loop() {
		if _, err := simulate.Run(demand, simulate.Default(), p()); err != nil {
			b.Fatal(err)
		}
	}
}

// A forecast ten times too low that is still trusted must not cost what the demand of the last seconds would have saved.
func TestForeshadowSurvivesAWrongForecast(t *testing.T) {
	t.Parallel()
	demand, c := day(), simulate.Default()
	low := make([]float64, len(demand))
	for i, v := range demand {
		low[i] = v / 10
	}
	reactive := play(t, demand, c, NewHPA(DefaultHPA()))
	got := play(t, demand, c, NewForeshadow(scaling.DefaultConfig(), foretold{low, true}))
	if got.Violated > reactive.Violated || got.InstanceSeconds > reactive.InstanceSeconds {
		t.Errorf("%g violated at %g instance-seconds, the HPA %g at %g", got.Violated, got.InstanceSeconds, reactive.Violated, reactive.InstanceSeconds)
	}
}
