package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func measured(shares map[string]float64) *foreshadowv1.CapacityMeasured {
	c := &foreshadowv1.CapacityMeasured{}
	for route, share := range shares {
		c.Mix = append(c.Mix, &foreshadowv1.StratumShare{Stratum: &foreshadowv1.Stratum{Route: route}, Share: share})
	}
	return c
}

func TestDriftIsWhatTheMeasuredMixDidNotHave(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	tests := map[string]struct {
		today map[string]float64
		then  map[string]float64
		want  float64
	}{
		"the same":            {map[string]float64{"a": 700, "b": 300}, map[string]float64{"a": 0.7, "b": 0.3}, 0},
		"moved":               {map[string]float64{"a": 400, "b": 600}, map[string]float64{"a": 0.7, "b": 0.3}, 0.3},
		"a new route":         {map[string]float64{"a": 500, "c": 500}, map[string]float64{"a": 1}, 0.5},
		"rare routes swapped": {map[string]float64{"a": 980, "b": 20}, map[string]float64{"a": 0.98, "c": 0.02}, 0},
		"rare routes grew":    {map[string]float64{"a": 900, "b": 25, "c": 25, "d": 25, "e": 25}, map[string]float64{"a": 1}, 0.1},
		"too few requests":    {map[string]float64{"a": 10}, map[string]float64{"b": 1}, 0},
		"nothing measured":    {map[string]float64{"a": 1000}, nil, 0},
	}
	for name, tc := range tests {
		var m mix
		m.add(now, tc.today)
		if got := m.drift(measured(tc.then)); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: drift %v, want %v", name, got, tc.want)
		}
	}
}

// TestASampleOfTheSameMixIsNoDrift draws a measurement of 200 requests from the very mix that runs: 100 routes, of which
// most are rare.
func TestASampleOfTheSameMixIsNoDrift(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	route := func() string { return fmt.Sprint(int(math.Pow(100, rng.Float64()))) }
	for range 50 {
		var m mix
		today := map[string]float64{}
		for range 5000 {
			today[route()]++
		}
		m.add(time.Unix(1_700_000_000, 0), today)
		then := map[string]float64{}
		for range 200 {
			then[route()] += 1.0 / 200
		}
		if got := m.drift(measured(then)); got > 0.2 {
			t.Errorf("drift %v between two samples of one mix", got)
		}
	}
}

// TestFewSessionsAreNoDrift draws a measurement from 40 sessions of ten requests for one page each, out of the very mix that
// runs. It says of itself that it knows the mix as 40 requests do; a drift beyond that is still seen.
func TestFewSessionsAreNoDrift(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	const runs = 200
	seen, missed := 0, 0
	for range runs {
		var m mix
		m.add(time.Unix(1_700_000_000, 0), map[string]float64{"a": 2000, "b": 1500, "c": 1000, "d": 500})
		draw := func(a, b, c float64) *foreshadowv1.CapacityMeasured {
			then := map[string]float64{}
			for range 40 {
				switch u := rng.Float64(); {
				case u < a:
					then["a"] += 1.0 / 40
				case u < a+b:
					then["b"] += 1.0 / 40
				case u < a+b+c:
					then["c"] += 1.0 / 40
				default:
					then["d"] += 1.0 / 40
				}
			}
			out := measured(then)
			out.MixRequests = 40
			return out
		}
		if m.drift(draw(0.4, 0.3, 0.2)) > 0.1 {
			seen++
		}
		if m.drift(draw(0, 0.1, 0.2)) < 0.3 { // 0.6 of the requests are of another page
			missed++
		}
	}
	if seen > runs/20 || missed > runs/20 {
		t.Errorf("in %d of %d samples of one mix a drift was seen, in %d samples of another it was not", seen, runs, missed)
	}
}
