package pool

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// calmAndWild is a cycle of 48 points that is smooth but for a noisy eighth of it.
func calmAndWild(n int) []float64 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, n)
	for i := range out {
		noise := 0.5
		if phase := i % 48; phase >= 24 && phase < 30 {
			noise = 25
		}
		out[i] = math.Max(0, 100-50*math.Cos(2*math.Pi*float64(i)/48)+noise*rng.NormFloat64())
	}
	return out
}

func TestErrorsKnowTheHour(t *testing.T) {
	t.Parallel()
	values := calmAndWild(48 * 24)
	width := func(end int) float64 {
		p, err := Fit(values[:end], Options{Horizon: 4})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.Periods(), []int{48}) {
			t.Fatalf("periods %v, want 48", p.Periods())
		}
		_, scale := p.Forecast(4)
		sum, total := 0.0, 0.0
		for j, w := range p.PathWeights() {
			sum += w * math.Abs(p.Errors().Paths[j][0]) * scale[0]
			total += w
		}
		return sum / total
	}
	calm, wild := width(48*23+8), width(48*23+27)
	if wild < 5*calm {
		t.Errorf("expected errors %.2f in the calm hours and %.2f in the wild ones, want them at least 5 times apart", calm, wild)
	}
}

func TestWeightsFavourTheModelThatFits(t *testing.T) {
	t.Parallel()
	values := calmAndWild(48 * 20)
	p, err := Fit(values, Options{Horizon: 12})
	if err != nil {
		t.Fatal(err)
	}
	names, shares := p.Weights()
	sum := 0.0
	for i, name := range names {
		sum += shares[i]
		if (name == "naive" || name == "ses") && shares[i] > 0.02 {
			t.Errorf("%s has %.3f of the weight although it knows no cycle", name, shares[i])
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("weights add up to %v", sum)
	}
}

func TestBacktestLeavesTheOriginItself(t *testing.T) {
	t.Parallel()
	w := &weigher{origins: []int{10, 20, 30}, models: 2, horizon: 1, losses: [][]float32{{1, 1}, {1, 1000}, {1, 1}}, recent: []float64{1, 1, 1}, total: []float64{3, 1002}}
	if got := w.weights(20, 5)[0]; math.Abs(got[0]-0.5) > 1e-9 {
		t.Errorf("weights %v at an origin whose own losses must not count, want halves", got)
	}
	if got := w.weights(40, 5)[0]; got[1] > 0.01 {
		t.Errorf("weights %v elsewhere, want the second model out", got)
	}
}

func TestWeightedMedian(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		weights, values []float64
		want            float64
	}{
		{[]float64{1, 1, 1}, []float64{5, 1, 9}, 5},
		{[]float64{1, 1, 5}, []float64{5, 1, 9}, 9},
		{[]float64{0, 0, 1}, []float64{math.NaN(), 1, 2}, 2},
		{[]float64{0, 0}, []float64{3, 4}, 3},
	} {
		if got := weightedMedian(tc.weights, tc.values); got != tc.want {
			t.Errorf("%v with weights %v: %v, want %v", tc.values, tc.weights, got, tc.want)
		}
	}
}

func TestBoundsCutOffAnExplosion(t *testing.T) {
	t.Parallel()
	got := []float64{5, 1e30, math.Inf(-1), math.NaN()}
	boundsOf([]float64{0, 10, 4}).enforce(got, 4)
	if want := []float64{5, 30, -20, 4}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestPrepareFillsGapsAndRefuses(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	values := append([]float64{nan, 2, nan, nan, 8}, make([]float64, 15)...)
	d, err := prepare(append(values, 4, nan))
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{2, 2, 4, 6, 8}; !slices.Equal(d.Y[:5], want) || d.Y[21] != 4 {
		t.Errorf("filled %v, want %v at first and 4 at last", d.Y, want)
	}
	if !d.Missing[0] || d.Missing[1] || !d.Missing[21] || !d.Positive {
		t.Errorf("missing %v", d.Missing)
	}
	for _, tc := range []struct {
		values []float64
		want   error
	}{
		{[]float64{1, 2, 3}, ErrTooShort},
		{slices.Repeat([]float64{nan}, 40), ErrAllGaps},
		{append(make([]float64, 20), slices.Repeat([]float64{nan}, 21)...), ErrMostlyGap},
	} {
		if _, err := Fit(tc.values, Options{Horizon: 3}); !errors.Is(err, tc.want) {
			t.Errorf("%v: %v, want %v", tc.values, err, tc.want)
		}
	}
	if _, err := Fit(calmAndWild(100), Options{Horizon: 3, Method: "oracle"}); !errors.Is(err, ErrMethod) {
		t.Errorf("%v, want %v", err, ErrMethod)
	}
}

func TestBridgeRepeatsTheCycleInALongGap(t *testing.T) {
	t.Parallel()
	wave := func(i int) float64 { return 100 - 50*math.Cos(2*math.Pi*float64(i)/48) + float64(i)/10 }
	values := make([]float64, 48*8)
	for i := range values {
		values[i] = wave(i)
		// Half a day, two days in a row, a short gap that a line fills well, and the end.
		if i >= 100 && i < 124 || i >= 200 && i < 296 || i == 150 || i >= len(values)-10 {
			values[i] = math.NaN()
		}
	}
	d, err := prepare(values)
	if err != nil {
		t.Fatal(err)
	}
	bridge(d, 48)
	for i, v := range d.Y {
		if math.Abs(v-wave(i)) > 5 { // what the level rises in a day
			t.Errorf("point %d: %.1f, want about %.1f", i, v, wave(i))
		}
	}
	if !d.Missing[100] {
		t.Error("a filled point counts as measured")
	}
}

func TestWeightsKnowTheDayOfTheWeek(t *testing.T) {
	t.Parallel()
	// The first model is right on one day of the week, the second on all others.
	w := &weigher{models: 2, horizon: 1, period: 10, longer: 70, total: []float64{0, 0}}
	for o := 100; o < 800; o += 10 {
		row := []float32{4, 1}
		if o%70 == 30 {
			row = []float32{1, 4}
		}
		w.origins, w.losses, w.recent = append(w.origins, o), append(w.losses, row), append(w.recent, 1)
		w.total[0], w.total[1] = w.total[0]+float64(row[0]), w.total[1]+float64(row[1])
	}
	if got := w.weights(870, 0)[0]; got[0] < 0.4 {
		t.Errorf("weights %v on the day the first model is right", got)
	}
	if got := w.weights(880, 0)[0]; got[0] > 0.1 {
		t.Errorf("weights %v on another day", got)
	}
}

func TestDayAheadKnowsTheWeekBehindAPromotion(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	values := make([]float64, 5*168)
	for i := range values {
		values[i] = (100 - 60*math.Cos(2*math.Pi*float64(i)/24)) * (1 + 0.1*rng.NormFloat64())
		if i/24%7 >= 5 {
			values[i] *= 0.8
		}
		if i/24 == 2 || i/24 == 3 {
			values[i] *= 5
		}
	}
	for _, tc := range []struct {
		values  []float64
		horizon int
		week    bool
	}{{values, 4, false}, {values, 24, true}, {values[:14*24], 24, false}} {
		p, err := Fit(tc.values, Options{Horizon: tc.horizon, Hints: []int{24, 168}})
		if err != nil {
			t.Fatal(err)
		}
		names, _ := p.Weights()
		got := []bool{slices.Equal(p.Periods(), []int{24, 168}), slices.Contains(names, "week"), p.weigher.leads != nil}
		if !slices.Equal(got, slices.Repeat([]bool{tc.week}, 3)) {
			t.Errorf("%d hours ahead of %d: week found, models of it, weights by target: %v, want %v", tc.horizon, len(tc.values), got, tc.week)
		}
	}
}
