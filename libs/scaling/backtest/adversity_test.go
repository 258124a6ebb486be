package backtest

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling/policy"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// The promise that matters most is kept where forecasting fails: for the money of the HPA never more violations than it has.
// Nothing here can be foreseen, or what is foreseen is wrong.
func TestNeverWorseThanTheHPAForItsMoney(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series forecast.Series
		factor float64 // by which all that is foreseen is wrong
	}{
		"flash crowds":               {crowds(), 1},
		"another regime":             {regimes(), 1},
		"users who leave at once":    {leavers(3), 1},
		"a random walk":              {wander(), 1},
		"noise":                      {noise(), 1},
		"forecast 10 times too low":  {shop(4, 5*time.Minute), 0.1},
		"forecast 10 times too high": {shop(4, 5*time.Minute), 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick()
			_, f, err := o.prepare(tc.series)
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.journey.walk(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			c = c.wrong(tc.factor)
			for _, startup := range []time.Duration{30 * time.Second, 10 * time.Minute} {
				o.Startup = startup
				ours, hpa := o.duel(t, tc.series, c)
				if hpa.ViolatedShare < 1e-4 {
					t.Errorf("start-up %s: the HPA violates %g: there is nothing to compare", startup, hpa.ViolatedShare)
				}
				if !(ours.AtCostRatio >= 0 && ours.AtCostRatio <= 1) {
					t.Errorf("start-up %s: %.4f of the HPA's violations (%g) at its cost: %+v", startup, ours.AtCostRatio, hpa.ViolatedShare, ours.Points)
				}
			}
		})
	}
}

// One draw may be luck. What many say is for whoever changes the decision, and for the README.
func TestDrawsOfLeavers(t *testing.T) {
	t.Parallel()
	draws, err := strconv.ParseUint(os.Getenv("FORESHADOW_DRAWS"), 10, 8)
	if err != nil {
		t.Skip("FORESHADOW_DRAWS says how many are to be played")
	}
	for _, startup := range []time.Duration{30 * time.Second, 10 * time.Minute} {
		var ratios []float64
		for draw := range draws {
			o := quick()
			o.Startup = startup
			s := leavers(draw)
			_, f, err := o.prepare(s)
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.journey.walk(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ours, _ := o.duel(t, s, c)
			ratios = append(ratios, ours.AtCostRatio)
		}
		t.Logf("start-up %s: of the HPA's violations at its cost (negative: never as cheap): %.3f", startup, ratios)
	}
}

// duel plays Foreshadow at budgets around the HPA's cost against the HPA.
func (o Options) duel(t *testing.T, s forecast.Series, c *chronicle) (ours Curve, hpa Point) {
	t.Helper()
	w, f, err := o.prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	f.read(c)
	play := func(p simulate.Policy) Point {
		r, err := simulate.Run(w.demand, w.config, p)
		if err != nil {
			t.Fatal(err)
		}
		return point(contender{}, r)
	}
	hpa = play(policy.NewHPA(hpaAt(o.HPA)))
	for _, budget := range []float64{0.9, 0.97, 1.03} {
		d := o.Decision
		d.Budget = budget
		ours.Points = append(ours.Points, play(policy.NewForeshadow(d, f)))
	}
	ours.compare(hpa)
	return ours, hpa
}

// wrong is the chronicle of an engine that errs by a factor and is trusted all the same.
func (c *chronicle) wrong(factor float64) *chronicle {
	if factor == 1 {
		return c
	}
	out := &chronicle{Steps: make([]sight, len(c.Steps))}
	for i, s := range c.Steps {
		s.Running, s.Earned = factor*s.Running, true
		s.Peaks, s.Alone = grown(factor, s.Peaks), grown(factor, s.Alone)
		out.Steps[i] = s
	}
	return out
}

func grown(factor float64, steps [][]float64) [][]float64 {
	out := make([][]float64, len(steps))
	for k, levels := range steps {
		for _, v := range levels {
			out[k] = append(out[k], factor*v)
		}
	}
	return out
}

// crowds is the shop, into which now and then three times as many people come at once, for some minutes.
func crowds() forecast.Series {
	r := rand.New(rand.NewPCG(1, 7))
	s := shop(4, 5*time.Minute)
	for i := range s.Values {
		if r.IntN(60) == 0 {
			for k := i; k < min(i+1+r.IntN(4), len(s.Values)); k++ {
				s.Values[k] *= 3
			}
		}
	}
	return s
}

// regimes is the shop until its users change: three times as many at other hours, then hardly any.
func regimes() forecast.Series {
	s := shop(4, 5*time.Minute)
	const day = 24 * 12
	old := slices.Clone(s.Values)
	for i := 5 * day / 2; i < len(s.Values); i++ {
		s.Values[i] = 3 * old[i-day/2]
		if i >= 7*day/2 {
			s.Values[i] = old[i] / 4
		}
	}
	return s
}

// leavers are the regimes with more noise, until all but a few users of the new one leave at once, by night: nothing tells that
// from an outage.
func leavers(draw uint64) forecast.Series {
	r := rand.New(rand.NewPCG(draw, 77))
	s := shop(4, 5*time.Minute)
	const day = 24 * 12
	for i := range s.Values {
		s.Values[i] *= math.Exp(0.03 * r.NormFloat64())
	}
	old := slices.Clone(s.Values)
	from := 2*day + r.IntN(day)
	for i := from; i < len(s.Values); i++ {
		s.Values[i] = 3 * old[i-day/2]
		if i >= from+day {
			s.Values[i] = old[i] / 4
		}
	}
	return s
}

// wander is a random walk.
func wander() forecast.Series {
	r := rand.New(rand.NewPCG(2, 9))
	s := forecast.Series{Start: epoch, Step: 5 * time.Minute}
	level := 1000.0
	for range 4 * 288 {
		level = math.Min(math.Max(50, level*math.Exp(0.1*r.NormFloat64())), 20000)
		s.Values = append(s.Values, level)
	}
	return s
}

// noise has no memory at all.
func noise() forecast.Series {
	r := rand.New(rand.NewPCG(3, 9))
	s := forecast.Series{Start: epoch, Step: 5 * time.Minute}
	for range 4 * 288 {
		s.Values = append(s.Values, 1000*math.Exp(0.5*r.NormFloat64()))
	}
	return s
}
