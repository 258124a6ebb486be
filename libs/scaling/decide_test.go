package scaling

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// settled is a workload in balance: 10 instances of 100 requests/s carry 800 requests/s, and a trusted forecast sees
// 960 until a new instance could be ready.
func settled() Input {
	c := DefaultConfig()
	c.MinInstances, c.MaxInstances = 2, 40
	c.Imbalance = 0
	return Input{
		Config:    c,
		Instances: Instances{Desired: 10, Ready: 10},
		Startup:   30 * time.Second,
		Demand:    []Point{{start.Add(-2 * time.Second), 800}, {start.Add(-time.Second), 800}},
		Forecast: Forecast{
			Issued: start.Add(-10 * time.Second), Earned: true, Mean: 820,
			Lead: []Quantile{{0.5, 850}, {0.95, 960}, {0.99, 990}}, Hold: []Quantile{{0.5, 900}, {0.95, 980}},
		},
		Capacity:    Capacity{Source: CapacityMeasured, PerSecond: 100, Measured: start, Expires: start.Add(time.Hour)},
		Utilization: Utilization{Share: 0.7, At: start.Add(-5 * time.Second)},
		Resources: Resources{
			CPU: Line{0.1, 0.005}, Memory: Line{100e6, 1e6}, Network: Line{1000, 2000},
		},
	}
}

// long is the state of a workload that has run for long and needed little.
var long = State{needs: peaks{{at: start.Add(-time.Hour), need: 1}}}

func TestAStartWithoutMemoryReleasesNothingAtOnce(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Instances = Instances{Desired: 20, Ready: 20}
	d, state := Decide(State{}, in, start)
	if d.Production.Instances != 20 || first(d) != ScaleDownHeldByPast {
		t.Errorf("%d instances at the start, reasons %v: want the 20 that run kept", d.Production.Instances, texts(d))
	}
	now := start.Add(in.Config.DownHold + time.Second)
	for i := range in.Demand {
		in.Demand[i].At = now.Add(time.Duration(i-2) * time.Second)
	}
	in.Forecast.Issued = now
	if d, _ = Decide(state, in, now); d.Production.Instances >= 20 || first(d) != ScaleDown {
		t.Errorf("%d instances after the hold, reasons %v: want some released", d.Production.Instances, texts(d))
	}
}

func TestTheForecastIsShownWithoutCapacity(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Capacity = Capacity{}
	if d, _ := Decide(State{}, in, start); d.Evidence.Forecast != 960 || d.Evidence.ForecastMean != 820 || d.Policy != Reactive {
		t.Errorf("evidence %+v, policy %v: want the forecast in it, and CPU deciding", d.Evidence, d.Policy)
	}
}

func first(d Decision) Code { return d.Reasons[0].Code }

func has(d Decision, code Code) bool {
	for _, r := range d.Reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Input)
		want   int
		policy Policy
		why    Code
		also   Code
	}{
		"in balance": {func(in *Input) {}, 10, Predictive, EnoughInstances, ForecastTrusted},
		"forecast above what runs": {func(in *Input) {
			in.Forecast.Lead[1].PerSecond = 1510
		}, 16, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"a hole in what a new instance meets": {func(in *Input) {
			in.Forecast.Arrival = []Quantile{{0.5, 700}, {0.95, math.NaN()}}
		}, 10, Reactive, EnoughInstances, ForecastMissing},
		"starting instances count": {func(in *Input) {
			in.Forecast.Lead[1].PerSecond, in.Instances.Desired = 1510, 16
		}, 16, Predictive, EnoughInstances, ForecastTrusted},
		"demand above forecast": {func(in *Input) {
			in.Demand[0].PerSecond, in.Demand[1].PerSecond = 2000, 2000
		}, 21, Predictive, DemandAboveCommitted, ForecastTrusted},
		"lower risk looks at a higher quantile": {func(in *Input) {
			in.Forecast.Lead[2].PerSecond, in.Config.Risk = 1400, 0.01
		}, 14, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"risk between two levels": {func(in *Input) {
			in.Forecast.Lead[2].PerSecond, in.Config.Risk = 1300, 0.03
		}, 12, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"risk beyond the highest level": {func(in *Input) {
			in.Config.Risk = 0.001
		}, 11, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"untrusted forecast is not used": {func(in *Input) {
			in.Forecast.Lead[1].PerSecond, in.Forecast.Earned = 3000, false
		}, 10, Reactive, EnoughInstances, ForecastUntrusted},
		"untrusted forecast leaves the HPA's floor": {func(in *Input) {
			in.Forecast.Earned, in.Utilization.Share = false, 0.95
		}, 14, Reactive, UtilizationAboveTarget, HPAFloor},
		"trusted forecast may undercut the HPA": {func(in *Input) {
			in.Utilization.Share = 0.95
		}, 10, Predictive, EnoughInstances, ForecastTrusted},
		"old forecast": {func(in *Input) {
			in.Forecast.Lead[1].PerSecond, in.Forecast.Issued = 3000, start.Add(-11*time.Minute)
		}, 10, Reactive, EnoughInstances, ForecastStale},
		"no forecast": {func(in *Input) {
			in.Forecast = Forecast{}
		}, 10, Reactive, EnoughInstances, ForecastMissing},
		"a hole in the forecast": {func(in *Input) {
			in.Forecast.Lead[0].PerSecond, in.Forecast.Lead[1].PerSecond = 3000, math.NaN()
		}, 10, Reactive, EnoughInstances, ForecastMissing},
		"a hole in the longer forecast": {func(in *Input) {
			in.Forecast.Hold[0].PerSecond = math.Inf(1)
		}, 10, Reactive, EnoughInstances, ForecastMissing},
		"no demand holds": {func(in *Input) {
			in.Demand, in.Forecast.Lead[1].PerSecond = nil, 100
		}, 10, Hold, DemandMissing, ForecastTrusted},
		"old demand holds": {func(in *Input) {
			in.Demand = []Point{{start.Add(-2 * time.Minute), 1}}
			in.Forecast = Forecast{}
		}, 10, Hold, DemandMissing, ForecastMissing},
		"impossible newest demand holds": {func(in *Input) {
			in.Demand[0].PerSecond, in.Demand[1].PerSecond = 10, math.NaN()
			in.Forecast = Forecast{}
		}, 10, Hold, DemandMissing, ForecastMissing},
		"demand from the far future holds": {func(in *Input) {
			in.Demand = []Point{{start.Add(time.Hour), 10}}
			in.Forecast = Forecast{}
		}, 10, Hold, DemandMissing, ForecastMissing},
		"no demand still grows by forecast": {func(in *Input) {
			in.Demand, in.Forecast.Lead[1].PerSecond = nil, 1400
		}, 14, Predictive, ForecastAboveCommitted, DemandMissing},
		"capacity unknown follows utilization": {func(in *Input) {
			in.Capacity, in.Utilization.Share = Capacity{}, 0.98
		}, 14, Reactive, UtilizationAboveTarget, CapacityMissing},
		"capacity unknown and demand unknown holds": {func(in *Input) {
			in.Capacity, in.Utilization.Share, in.Demand = Capacity{}, 0.1, nil
		}, 10, Hold, DemandMissing, CapacityMissing},
		"nothing known": {func(in *Input) {
			in.Capacity, in.Utilization = Capacity{}, Utilization{Share: math.NaN()}
		}, 10, Hold, NothingKnown, ShadowAwake},
		"a zero capacity is no capacity": {func(in *Input) {
			in.Capacity.PerSecond, in.Utilization.Share = 0, math.NaN()
		}, 10, Hold, NothingKnown, ShadowAwake},
		"stale utilization is no utilization": {func(in *Input) {
			in.Capacity, in.Utilization.At = Capacity{}, start.Add(-time.Hour)
		}, 10, Hold, NothingKnown, ShadowAwake},
		"an uncertain capacity counts for less": {func(in *Input) {
			in.Capacity.Lower, in.Capacity.Upper = 60, 140
		}, 15, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"uneven balancing counts": {func(in *Input) {
			in.Config.Imbalance = 0.25
		}, 12, Predictive, ForecastAboveCommitted, ForecastTrusted},
		"maximum": {func(in *Input) {
			in.Forecast.Lead[1].PerSecond = 9000
		}, 40, Predictive, ForecastAboveCommitted, AtMaximum},
		"minimum": {func(in *Input) {
			in.Instances.Desired, in.Config.MinInstances, in.Demand = 1, 5, nil
			in.Forecast, in.Utilization = Forecast{}, Utilization{}
		}, 5, Hold, DemandMissing, AtMinimum},
		"an idle HPA holds the minimum": {func(in *Input) {
			in.Instances, in.Config.MinInstances, in.Config.Budget = Instances{Desired: 2, Ready: 2}, 5, 1
			in.Utilization.Share = 0.08
		}, 5, Reactive, AtMinimum, HPAUntilKnown},
		"moved mix keeps the HPA's floor": {func(in *Input) {
			in.Capacity.MixDrift, in.Utilization.Share = 0.3, 0.95
		}, 14, Predictive, UtilizationAboveTarget, CapacityMixMoved},
		"desired unknown falls back on ready": {func(in *Input) {
			in.Instances.Desired = 0
		}, 10, Predictive, EnoughInstances, ForecastTrusted},
		"shrinks in steps": {func(in *Input) {
			in.Instances, in.Config.DownStep = Instances{Desired: 20, Ready: 20}, 0.25
		}, 15, Predictive, ScaleDown, ScaleDownInSteps},
		"shrinks to what the longer forecast needs": {func(in *Input) {
			in.Instances = Instances{Desired: 12, Ready: 12}
		}, 10, Predictive, ScaleDown, ForecastTrusted},
		"longer forecast keeps instances": {func(in *Input) {
			in.Instances, in.Forecast.Hold[0].PerSecond = Instances{Desired: 12, Ready: 12}, 1250
		}, 12, Predictive, ScaleDownHeldByFuture, ForecastTrusted},
		"at a high risk the hold looks no higher than the growth": {func(in *Input) {
			in.Instances, in.Config.Risk = Instances{Desired: 12, Ready: 12}, 0.9
			in.Forecast.Lead = []Quantile{{0.1, 700}, {0.5, 1500}}
			in.Forecast.Hold = []Quantile{{0.1, 900}, {0.5, 1500}}
		}, 9, Predictive, ScaleDown, ForecastTrusted},
		"a capacity without a source is not used": {func(in *Input) {
			in.Capacity.Source, in.Utilization.Share = CapacityUnknown, math.NaN()
		}, 10, Hold, NothingKnown, ShadowAwake},
		"a trifle is not released": {func(in *Input) {
			in.Instances, in.Config.DownMargin = Instances{Desired: 11, Ready: 11}, 0.2
		}, 11, Predictive, ScaleDownTooSmall, ForecastTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := settled()
			tc.change(&in)
			got, _ := Decide(long, in, start)
			if got.Production.Instances != tc.want || got.Policy != tc.policy || first(got) != tc.why || !has(got, tc.also) {
				t.Errorf("%d instances, %v, reasons %v; want %d, %v, %s first and %s", got.Production.Instances, got.Policy, texts(got), tc.want, tc.policy, tc.why, tc.also)
			}
		})
	}
}

func texts(d Decision) []string {
	var out []string
	for _, r := range d.Reasons {
		out = append(out, string(r.Code)+": "+d.Text(r))
	}
	return out
}

func TestShrinkingWaitsForThePast(t *testing.T) {
	t.Parallel()
	in, now := settled(), start
	in.Config.DownStep = 1
	in.Forecast.Lead[1].PerSecond, in.Forecast.Hold[1].PerSecond = 1500, 1500
	var s State
	var d Decision
	d, s = Decide(s, in, now)
	if d.Production.Instances != 15 {
		t.Fatalf("%d instances, want 15", d.Production.Instances)
	}
	in.Instances = Instances{Desired: 15, Ready: 15}
	in.Forecast.Lead[1].PerSecond, in.Forecast.Hold[1].PerSecond = 900, 900
	peak := now
	for {
		now = now.Add(15 * time.Second)
		in.Demand, in.Forecast.Issued, in.Utilization.At = []Point{{now, 800}}, now, now
		d, s = Decide(s, in, now)
		if d.Production.Instances != 15 {
			break
		}
		if first(d) != ScaleDownHeldByPast {
			t.Fatalf("after %s: %v", now.Sub(peak), texts(d))
		}
	}
	if waited := now.Sub(peak); waited != 315*time.Second || d.Production.Instances != 9 {
		t.Errorf("%d instances after %s, want 9 after the first decision beyond 5m", d.Production.Instances, waited)
	}
}

func TestShadow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Input)
		want   int
		why    Code
	}{
		"nothing to learn": {func(in *Input) {}, 0, ShadowAsleep},
		"unknown":          {func(in *Input) { in.Capacity = Capacity{} }, 1, CapacityMissing},
		"hint":             {func(in *Input) { in.Capacity.Source = CapacityHint }, 1, CapacityNotTested},
		"expired":          {func(in *Input) { in.Capacity.Expires = start.Add(-time.Second) }, 1, CapacityExpired},
		"rough":            {func(in *Input) { in.Capacity.Rough = true }, 1, CapacityRough},
		"mix moved":        {func(in *Input) { in.Capacity.MixDrift = 0.21 }, 1, CapacityMixMoved},
		"mix unknown":      {func(in *Input) { in.Capacity.MixDrift = math.NaN() }, 1, CapacityMixMoved},
		"no shadow wanted": {func(in *Input) { in.Capacity, in.Config.ShadowInstances = Capacity{}, 0 }, 0, ShadowAsleep},
	} {
		in := settled()
		tc.change(&in)
		if got, _ := Decide(State{}, in, start); got.Shadow.Instances != tc.want || !has(got, tc.why) {
			t.Errorf("%s: %d shadow instances, %v; want %d and %s", name, got.Shadow.Instances, texts(got), tc.want, tc.why)
		}
	}
}

func TestInstanceIsSizedForItsCapacity(t *testing.T) {
	t.Parallel()
	in := settled()
	got, _ := Decide(State{}, in, start)
	want := Size{Instances: 10, CPUCores: 0.6 * 1.2, MemoryBytes: 200e6 * 1.2, NetworkBytesPerSecond: 201e3 * 1.2}
	if d := cmp.Diff(want, got.Production); d != "" {
		t.Error(d)
	}
	in.Capacity = Capacity{}
	if got, _ := Decide(State{}, in, start); math.Abs(got.Production.CPUCores-0.5*1.2) > 1e-12 {
		t.Errorf("%g cores while only the demand of 80 requests/s each is known, want 0.6", got.Production.CPUCores)
	}
	in = settled()
	in.Resources = Resources{Memory: Line{math.NaN(), 1}}
	if got, _ := Decide(State{}, in, start); got.Production.CPUCores != 0 || got.Production.MemoryBytes != 0 {
		t.Errorf("unknown resources give %+v", got.Production)
	}
}

func TestAlternativesAndEvidence(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Utilization.Share = 0.84
	got, _ := Decide(State{}, in, start)
	if got.HPAInstances != 12 || got.ReactiveInstances != 9 {
		t.Errorf("HPA %d, reactive %d; want 12, 9", got.HPAInstances, got.ReactiveInstances)
	}
	want := Evidence{
		Demand: 800, DemandAge: time.Second, Quantile: 0.95, Forecast: 960, ForecastArrival: 960, ForecastHold: 960, ForecastMean: 820,
		ForecastTrusted: true, Capacity: 100, CapacityUsed: 100, Utilization: 0.84, Startup: 30 * time.Second,
		LeadTime: 45 * time.Second, Ready: 10, Desired: 10, Needed: 10, NeededLater: 10, HPATarget: 70, Minimum: 2, Maximum: 40,
		Bottleneck: Bottleneck{Resource: withinSLO, Growth: 100. / 96, Use: 96, Limit: 100},
	}
	if d := cmp.Diff(want, got.Evidence); d != "" {
		t.Error(d)
	}
	if !got.Made.Equal(start) || !got.Expires.Equal(start.Add(2*time.Minute)) {
		t.Errorf("made %s, expires %s", got.Made, got.Expires)
	}
	in.Config.DownAhead = 10 * time.Minute
	if in.HoldTime() != 45*time.Second+10*time.Minute {
		t.Errorf("hold time %s", in.HoldTime())
	}
	in.Startup = 0
	if in.LeadTime() != 75*time.Second {
		t.Errorf("lead time %s while the start-up time is not measured, want 75s", in.LeadTime())
	}
}

// The virtual HPA runs its own fleet: production being larger must not make it shrink.
func TestHPAAlternativeIsCounterfactual(t *testing.T) {
	t.Parallel()
	in, now := settled(), start
	in.Config.HPA.DownHold = 0
	var s State
	_, s = Decide(s, in, now)
	in.Instances = Instances{Desired: 20, Ready: 20}
	in.Utilization.Share = 0.35
	for range 4 {
		now = now.Add(15 * time.Second)
		in.Utilization.At = now
		var d Decision
		if d, s = Decide(s, in, now); d.HPAInstances != 10 {
			t.Fatalf("HPA holds %d of its own 10 instances at the same load", d.HPAInstances)
		}
	}
	in.Utilization.Share = 0.7
	now = now.Add(5 * time.Second)
	in.Utilization.At = now
	d, s := Decide(s, in, now)
	if d.HPAInstances != 10 {
		t.Errorf("HPA acted between its synchronisations: %d", d.HPAInstances)
	}
	now = now.Add(10 * time.Second)
	in.Utilization.At = now
	if d, _ = Decide(s, in, now); d.HPAInstances != 20 {
		t.Errorf("HPA holds %d at double the load, want 20", d.HPAInstances)
	}
}

// A mean measured before production grew describes the fleet it was measured over, not today's.
func TestOldUtilizationInventsNoLoad(t *testing.T) {
	t.Parallel()
	in, now := settled(), start
	_, s := Decide(State{}, in, now)
	now = now.Add(15 * time.Second)
	in.Utilization = Utilization{Share: 0.7, At: now, Instances: 10}
	in.Instances = Instances{Desired: 30, Ready: 30}
	if d, _ := Decide(s, in, now); d.HPAInstances != 10 {
		t.Errorf("HPA holds %d for the load of 10 instances at 70 %%, want 10", d.HPAInstances)
	}
}

func TestEveryReasonReadsAsASentence(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Forecast.Reason = "coverage was 0.95"
	d, _ := Decide(State{}, in, start)
	d.Cheaper = &Alternative{}
	for _, code := range []Code{
		ForecastAboveCommitted, ArrivalAboveCommitted, DemandAboveCommitted, UtilizationAboveTarget, EnoughInstances, TooLateToHelp, ScaleDown, ScaleDownInSteps,
		ScaleDownTooSmall, ScaleDownHeldByPast, ScaleDownHeldByFuture, DemandMissing, NothingKnown, AtMinimum, AtMaximum,
		HPAFloor, ForecastTrusted, ForecastUntrusted, ForecastMissing, ForecastStale, CapacityMissing, CapacityNotTested,
		CapacityExpired, CapacityRough, CapacityMixMoved, CheaperSize, ShadowAwake, ShadowAsleep,
	} {
		text := d.Text(Reason{Code: code, to: 7, from: 3})
		if text == string(code) || len(strings.Fields(text)) < 4 || strings.Contains(text, "%!") {
			t.Errorf("%s reads %q", code, text)
		}
	}
	for text, r := range map[string]Reason{
		"1 instance is ready or starting and 1 is needed":            {Code: EnoughInstances, to: 1, from: 1},
		"3 instances are ready or starting and 1 is needed":          {Code: EnoughInstances, to: 1, from: 3},
		"Of 3 instances 1 would do for now and for what is expected": {Code: ScaleDown, to: 1, from: 3},
	} {
		if got := d.Text(r); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	if got := d.Text(d.Reasons[0]); got != "10 instances are ready or starting and 10 are needed" {
		t.Errorf("first reason %q", got)
	}
	if got := d.Text(d.Reasons[1]); got != "The forecast has earned trust: coverage was 0.95" {
		t.Errorf("second reason %q", got)
	}
}
