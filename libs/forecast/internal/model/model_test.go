package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// daily is a noisy cycle of 24 points with a level; noise 0 makes it exact.
func daily(n int, noise float64) *Data {
	rng := rand.New(rand.NewPCG(1, 2))
	d := &Data{Periods: []int{24}, Positive: true}
	for i := range n {
		v := 100 + 40*math.Sin(2*math.Pi*float64(i)/24) + 15*math.Cos(4*math.Pi*float64(i)/24)
		d.Append(v+noise*rng.NormFloat64(), false)
	}
	return d
}

// lineup is every model, as the pool would set it up for one cycle.
func lineup(d *Data) []Trainer {
	return []Trainer{
		Naive{Data: d},
		SeasonalNaive{Data: d, Period: 24, Label: "snaive"},
		Profile{Data: d, Period: 24, Cycles: 7, Label: "profile"},
		Smoothing{Data: d, Label: "ses"},
		Smoothing{Data: d, Period: 24, Cycles: 7, Label: "snaive_level"},
		SeasonalChange{Data: d, Period: 24, Cycles: 7, Smooth: 1, Label: "change"},
		SeasonalChange{Data: d, Period: 24, Cycles: 7, Smooth: 1, Median: true, Label: "change_median"},
		SeasonalChange{Data: d, Period: 24, Cycles: 2, Smooth: 3, Label: "change_recent"},
		NewRidge("ridge", NewFeatures(d, false), 12, 0.1),
		NewRidge("ridge_log", NewFeatures(d, true), 12, 0.1),
		NewRobustRidge("week", NewDeviations(d, 24, 168, 6), 12, 0.1),
		NewAnalog("analog", d, AnalogOptions{Window: 16, Matches: 12}),
		NewAnalog("analog_log", d, AnalogOptions{Window: 12, Matches: 20, Log: true}),
		NewAnalog("analog_phase", d, AnalogOptions{Period: 24, Window: 6, Matches: 3}),
		Autoregression{Smoothing: Smoothing{Data: d, Label: "ar"}, MaxOrder: 24},
		Autoregression{Smoothing: Smoothing{Data: d, Period: 24, Cycles: 7, Label: "seasonal_ar"}, MaxOrder: 24},
		HoltWinters{Data: d, Label: "holt"},
		HoltWinters{Data: d, Period: 24, Label: "holt_winters"},
		ETS{Data: d, Label: "ets"},
		NewLogged(d, func(logs *Data) Trainer {
			return Autoregression{Smoothing: Smoothing{Data: logs, Period: 24, Cycles: 7, Label: "seasonal_ar_log"}, MaxOrder: 24}
		}),
		NewHarmonic("harmonic", d, 24),
		Decomposition{Data: d, Periods: []int{24}, MaxOrder: 24, Label: "stl_ar"},
		Decomposition{Data: d, Periods: []int{24}, Label: "stl_ets"},
		Theta{Data: d, Periods: []int{24}, Label: "theta"},
	}
}

func forecast(p Predictor, origin, horizon int) []float64 {
	out := make([]float64, horizon)
	p.Forecast(origin, out)
	return out
}

func TestSeasonalModelsLearnTheCycle(t *testing.T) {
	t.Parallel()
	whole := daily(612, 3)
	d := &Data{Y: slices.Clone(whole.Y[:600]), Missing: whole.Missing[:600], Periods: whole.Periods, Positive: true}
	truth := daily(612, 0).Y[600:]
	blind := []string{"naive", "ses", "holt"} // they know no cycle: these must lose, or the test proves nothing
	for _, m := range lineup(d) {
		got := forecast(m.Train(600), 600, 12)
		miss := 0.0
		for k := range truth {
			miss += math.Abs(got[k]-truth[k]) / 12
		}
		if slices.Contains(blind, m.Name()) != (miss > 8) {
			t.Errorf("%s misses the cycle by %.1f on average", m.Name(), miss)
		}
	}
}

func TestModelsNeverReadTheFuture(t *testing.T) {
	t.Parallel()
	const origin = 400
	for i := range lineup(daily(600, 3)) {
		known, other := daily(600, 3), daily(600, 3)
		slices.Reverse(other.Y[origin:]) // order statistics stay: the offset of a logarithm is a constant of the history
		m, n := lineup(known)[i], lineup(other)[i]
		a, b := forecast(m.Train(origin), origin, 12), forecast(n.Train(origin), origin, 12)
		if !slices.Equal(a, b) {
			t.Errorf("%s: the forecast from %d changes with what follows", m.Name(), origin)
		}
	}
}

func TestPredictorsFollowAGrowingHistory(t *testing.T) {
	t.Parallel()
	whole := daily(600, 3)
	for i := range lineup(whole) {
		all := daily(600, 3)
		grown := &Data{Y: slices.Clone(whole.Y[:520]), Missing: slices.Clone(whole.Missing[:520]), Periods: []int{24}, Positive: true}
		m, n := lineup(all)[i], lineup(grown)[i]
		tolerance := 1e-9
		if slices.Contains([]string{"ridge_log", "analog_log", "ets", "seasonal_ar_log"}, m.Name()) {
			tolerance = 0.01 // the offset of the logarithm was set when the history was shorter
		}
		p, q := m.Train(520), n.Train(520)
		for _, v := range whole.Y[520:] {
			grown.Append(v, false)
		}
		a, b := forecast(p, 600, 12), forecast(q, 600, 12)
		for k := range a {
			if math.Abs(a[k]-b[k]) > tolerance*math.Abs(a[k]) {
				t.Errorf("%s step %d: %v from the whole history, %v from one that grew", m.Name(), k, a[k], b[k])
			}
		}
	}
}

func TestSmoothingPicksTheConstantTheSeriesCallsFor(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	noise, walk := &Data{}, &Data{}
	level := 0.0
	for range 1000 {
		level += rng.NormFloat64()
		noise.Append(rng.NormFloat64(), false)
		walk.Append(level, false)
	}
	slow := Smoothing{Data: noise}.Train(1000).(*smoothingPredictor).alpha
	fast := Smoothing{Data: walk}.Train(1000).(*smoothingPredictor).alpha
	if slow > 0.1 || fast < 0.7 {
		t.Errorf("alpha %v for noise, %v for a random walk: want small and large", slow, fast)
	}
}

func TestYuleWalkerRecoversAnAutoregression(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 4))
	x := make([]float64, 20000)
	for i := 2; i < len(x); i++ {
		x[i] = 0.5*x[i-1] + 0.3*x[i-2] + rng.NormFloat64()
	}
	coef := yuleWalker(x, 10)
	if len(coef) < 2 || math.Abs(coef[0]-0.5) > 0.03 || math.Abs(coef[1]-0.3) > 0.03 {
		t.Errorf("coefficients %v, want 0.5 and 0.3 first", coef)
	}
	if got := yuleWalker(make([]float64, 100), 10); got != nil {
		t.Errorf("coefficients %v of a constant", got)
	}
}

func TestRidgeSolvesLeastSquares(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	m := newMoments(3)
	for range 500 {
		x := []float64{rng.NormFloat64(), 100 * rng.NormFloat64(), 7}
		m.add(x, 2*x[0]-0.05*x[1]+3, 1)
	}
	coef := m.solve(0)
	for i, want := range []float64{2, -0.05, 0, 3} {
		if math.Abs(coef[i]-want) > 1e-6 {
			t.Errorf("coefficients %v, want 2, -0.05, 0 for the constant feature, intercept 3", coef)
		}
	}
}

func TestAnalogRemembersARareEvent(t *testing.T) {
	t.Parallel()
	d := &Data{Positive: true}
	for i := range 1000 {
		v := 10.0
		switch since := i % 317; { // no cycle is given: the ramp alone announces the peak
		case since >= 200 && since < 205:
			v += 5 * float64(since-199)
		case since >= 205 && since < 210:
			v = 200
		}
		d.Append(v, false)
	}
	origin := 2*317 + 205
	got := forecast(NewAnalog("analog", d, AnalogOptions{Window: 8, Matches: 2}).Train(origin), origin, 5)
	for k, v := range got {
		if math.Abs(v-200) > 10 {
			t.Errorf("step %d: %v after the ramp that has led to 200 before", k, v)
		}
	}
}

func TestDecompositionTakesTheSeasonsApart(t *testing.T) {
	t.Parallel()
	day := func(i int) float64 { return 10 * math.Sin(2*math.Pi*float64(i)/24) }
	week := func(i int) float64 { return 20 * math.Cos(2*math.Pi*float64(i)/168) }
	y := make([]float64, 168*6)
	for i := range y {
		y[i] = 100 + float64(i)/20 + day(i) + week(i)
	}
	seasons := decompose(y, []int{24, 168})
	for i := 168; i < len(y)-168; i++ {
		if math.Abs(seasons[0][i]-day(i)) > 1.5 || math.Abs(seasons[1][i]-week(i)) > 1.5 {
			t.Fatalf("point %d: seasons %.1f and %.1f, want %.1f and %.1f", i, seasons[0][i], seasons[1][i], day(i), week(i))
		}
	}
}

func TestLoessKeepsALine(t *testing.T) {
	t.Parallel()
	y := make([]float64, 200)
	for i := range y {
		y[i] = 3*float64(i) - 7
	}
	for _, span := range []int{3, 51, 999} {
		for i, v := range loess(y, span) {
			if math.Abs(v-y[i]) > 1e-6 {
				t.Fatalf("span %d, point %d: %v, want %v", span, i, v, y[i])
			}
		}
	}
}

func TestETSTakesTheFormTheHistoryCallsFor(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 6))
	walk, grows := &Data{Positive: true, Periods: []int{24}}, &Data{Positive: true, Periods: []int{24}}
	level := 1000.0
	for i := range 24 * 20 {
		level += 5 * rng.NormFloat64()
		walk.Append(level, false)
		scale := math.Exp(float64(i) / 100)
		grows.Append(scale*(2+math.Sin(2*math.Pi*float64(i)/24)+0.01*rng.NormFloat64()), false)
	}
	if p := (ETS{Data: walk}).Train(480).(*holtWinters); p.Period != 0 {
		t.Errorf("a random walk is given a season of %d", p.Period)
	}
	if p := (ETS{Data: grows}).Train(480).(*holtWinters); p.Period != 24 || !p.Log {
		t.Errorf("a season that grows with its level: period %d, multiplicative %v", p.Period, p.Log)
	}
}

func TestThetaFollowsTheTrend(t *testing.T) {
	t.Parallel()
	d := &Data{}
	for i := range 300 {
		d.Append(5*float64(i), false)
	}
	for k, v := range forecast(Theta{Data: d}.Train(300), 300, 10) {
		// With theta 3, the most it may take, two thirds of the slope go on.
		if least := 1495 + 5*float64(k+1)*0.6; v < least || v > 1495+5*float64(k+1) {
			t.Errorf("step %d: %.1f, want at least %.1f", k, v, least)
		}
	}
}

func TestHarmonicNeedsFewPointsForACycle(t *testing.T) {
	t.Parallel()
	noisy, smooth := daily(72, 10), daily(84, 0)
	noisy.Periods = []int{24}
	missed := func(p Predictor) float64 {
		sum := 0.0
		for k, v := range forecast(p, 72, 12) {
			sum += math.Abs(v-smooth.Y[72+k]) / 12
		}
		return sum
	}
	harmonic := missed(NewHarmonic("harmonic", noisy, 3).Train(72))
	naive := missed(SeasonalNaive{Data: noisy, Period: 24})
	if harmonic > naive {
		t.Errorf("misses by %.1f after three cycles, repeating the last by %.1f", harmonic, naive)
	}
	odd := &Data{Periods: []int{2}}
	for i := range 40 {
		odd.Append(float64(i%2), false)
	}
	if got := forecast(NewHarmonic("harmonic", odd, 3).Train(40), 40, 2); math.Abs(got[0]) > 0.1 || math.Abs(got[1]-1) > 0.1 {
		t.Errorf("a cycle of two points: %v, want 0 and 1", got)
	}
}

func TestLoggedFollowsACycleThatGrowsWithItsLevel(t *testing.T) {
	t.Parallel()
	d := &Data{Positive: true, Periods: []int{24}}
	truth := func(i int) float64 { return math.Exp(float64(i)/200) * (3 + 2*math.Sin(2*math.Pi*float64(i)/24)) }
	for i := range 24 * 20 {
		d.Append(truth(i), false)
	}
	missed := func(m Trainer) float64 {
		sum := 0.0
		for k, v := range forecast(m.Train(480), 480, 24) {
			sum += math.Abs(v-truth(480+k)) / 24
		}
		return sum
	}
	of := func(d *Data) Trainer { return Smoothing{Data: d, Period: 24, Cycles: 7} }
	if logged, raw := missed(NewLogged(d, of)), missed(of(d)); logged > raw/2 {
		t.Errorf("misses by %.2f, without logarithms by %.2f: want less than half", logged, raw)
	}
}
