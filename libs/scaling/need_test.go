package scaling

import (
	"math"
	"testing"
	"time"
)

func TestTailOfTheForecast(t *testing.T) {
	t.Parallel()
	three := []Quantile{{0.5, 100}, {0.9, 110}, {0.99, 120}}
	for name, tc := range map[string]struct {
		quantiles []Quantile
		level     float64
		shift     float64
		want      float64
		ok        bool
	}{
		"a level given":       {three, 0.9, 0, 110, true},
		"between two":         {three, 0.945, 0, 115, true},
		"below the lowest":    {three, 0.2, 0, 40, true},
		"beyond the highest":  {three, 0.999, 0, 100 + 20*3.090232/2.326348, true},
		"certainty is finite": {three, 1, 0, 100 + 20*7.034484/2.326348, true},
		"levels below the median do not stretch the tail": {
			append([]Quantile{{0.1, 0}}, three...), 0.999, 0, 100 + 20*3.090232/2.326348, true,
		},
		"one level only":      {three[1:2], 0.999, 0, 110, true},
		"no spread":           {[]Quantile{{0.5, 7}, {0.9, 7}}, 0.999, 0, 7, true},
		"none":                {nil, 0.9, 0, 0, false},
		"impossible level":    {[]Quantile{{1, 7}}, 0.9, 0, 0, false},
		"negative demand":     {[]Quantile{{0.5, -7}}, 0.9, 0, 0, false},
		"moved":               {three, 0.945, 20, 135, true},
		"moved, beyond":       {three, 0.999, -20, 80 + 20*3.090232/2.326348, true},
		"moved, below":        {three, 0.2, 50, 60, true},
		"moved below nothing": {three, 0.9, -200, 0, true},
	} {
		got, ok := at(tc.quantiles, tc.level, tc.shift)
		if ok != tc.ok || math.Abs(got-tc.want) > 1e-4 {
			t.Errorf("%s: %g, %t; want %g, %t", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestCountedCapacity(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		c    Capacity
		risk float64
		want float64
	}{
		"exact":                      {Capacity{PerSecond: 100}, 0.05, 100},
		"at even odds":               {Capacity{PerSecond: 100, Lower: 80, Upper: 120}, 0.5, 100},
		"at the interval's own odds": {Capacity{PerSecond: 100, Lower: 80, Upper: 120}, 0.025, 80},
		"never below the interval":   {Capacity{PerSecond: 100, Lower: 80, Upper: 120}, 1e-6, 80},
		"no risk at all":             {Capacity{PerSecond: 100, Lower: 80, Upper: 120}, 0, 80},
		"upper end unknown":          {Capacity{PerSecond: 100, Lower: 80, Upper: math.NaN()}, 0.16, 100 - 20/1.959964*0.994458},
		"interval above the value":   {Capacity{PerSecond: 100, Lower: 110, Upper: 120}, 0.05, 100},
	} {
		if got := tc.c.counted(tc.risk, 0); math.Abs(got-tc.want) > 1e-3 {
			t.Errorf("%s: %g, want %g", name, got, tc.want)
		}
	}
	if got := (Capacity{PerSecond: 100}).counted(0.05, 0.25); got != 80 {
		t.Errorf("uneven balancing leaves %g, want 80", got)
	}
}

func TestInstancesFor(t *testing.T) {
	t.Parallel()
	if n := instancesFor(0.3, 0.1); n != 3 {
		t.Errorf("%d instances for a demand of exactly three, want 3", n)
	}
	if n := instancesFor(math.MaxFloat64, 1e-300); n != instanceLimit {
		t.Errorf("%d instances for an absurd demand, want the limit", n)
	}
	if z := normal(1); z != 4 {
		t.Errorf("%g standard deviations for certainty, want 4", z)
	}
}

func TestSmallDemandIsUncertain(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Forecast, in.Utilization = Forecast{}, Utilization{Share: math.NaN()}
	in.Capacity.PerSecond, in.Instances = 5, Instances{2, 2}
	in.Demand = []Point{{start, 9.8}}
	// 9.8 +- 1.64*sqrt(9.8/5) = 12.1 requests/s: a third instance, although 2 would carry the mean.
	if got, _ := Decide(State{}, in, start); got.Production.Instances != 3 {
		t.Errorf("%d instances, want 3", got.Production.Instances)
	}
	in.Config.Smoothing = 0
	if got, _ := Decide(State{}, in, start); got.Production.Instances != 2 {
		t.Errorf("%d instances for an exact rate, want 2", got.Production.Instances)
	}
}

func TestDemandIsSmoothed(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Forecast, in.Utilization = Forecast{}, Utilization{Share: math.NaN()}
	in.Demand = []Point{{start.Add(-time.Minute), 9000}, {start.Add(-2 * time.Second), 700}, {start.Add(-time.Second), math.NaN()}, {start, 900}}
	got, _ := Decide(State{}, in, start)
	if got.Evidence.Demand != 800 || got.Evidence.DemandAge != 0 {
		t.Errorf("demand %g aged %s, want 800 aged 0", got.Evidence.Demand, got.Evidence.DemandAge)
	}
}
