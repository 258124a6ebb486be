package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

// moods is hourly demand with quieter weekends whose level changes from day to day and lasts a while.
func moods(weeks int, promotion bool) *Data {
	rng := rand.New(rand.NewPCG(7, 7))
	d := &Data{Periods: []int{24, 168}, Positive: true}
	mood := 0.0
	for i := range weeks * 168 {
		if i%24 == 0 {
			mood = 0.95*mood + 0.1*rng.NormFloat64()
		}
		v := (100 - 60*math.Cos(2*math.Pi*float64(i)/24)) * math.Exp(mood) * (1 + 0.03*rng.NormFloat64())
		if i/24%7 >= 5 {
			v *= 0.6
		}
		if day := i / 24; promotion && (day == 17 || day == 25) {
			v *= 4
		}
		d.Append(v, false)
	}
	return d
}

// missBy is the mean absolute error of a model a day ahead over the last two weeks.
func missBy(d *Data, of func(*Data) Trainer) float64 {
	n := len(d.Y) - 14*24
	p := of(d).Train(n)
	out := make([]float64, 24)
	sum, count := 0.0, 0.0
	for origin := n; origin+24 <= len(d.Y); origin += 5 {
		p.Forecast(origin, out)
		for k, v := range out {
			sum += math.Abs(v - d.Y[origin+k])
			count++
		}
	}
	return sum / count
}

func weekRidge(d *Data) Trainer {
	return NewLogged(d, func(logs *Data) Trainer {
		return NewRobustRidge("week", NewDeviations(logs, 24, 168, 6), 24, 0.3)
	})
}

func TestDeviationsFollowTheMoodOfTheDays(t *testing.T) {
	t.Parallel()
	d := moods(8, false)
	profile := missBy(d, func(d *Data) Trainer { return Profile{Data: d, Period: 168, Cycles: 6} })
	if got := missBy(d, weekRidge); got > 0.75*profile {
		t.Errorf("missed by %.2f, want at most three quarters of the %.2f by which the mean week misses", got, profile)
	}
}

func TestRobustRidgeForgivesPromotions(t *testing.T) {
	t.Parallel()
	d := moods(8, true)
	plain := missBy(d, func(d *Data) Trainer {
		return NewLogged(d, func(logs *Data) Trainer { return NewRidge("", NewDeviations(logs, 24, 168, 6), 24, 0.3) })
	})
	if got := missBy(d, weekRidge); got > 0.95*plain {
		t.Errorf("missed by %.2f after two promotions, want clearly less than the %.2f of least squares", got, plain)
	}
}

// line are regressors with which every target is twice the feature, but for every tenth, which is far off.
type line struct{ n int }

func (line) Width() int                               { return 1 }
func (line) First() int                               { return 0 }
func (line) extend()                                  {}
func (l line) missing(i int) bool                     { return i >= l.n }
func (line) Restore(_, _ int, target float64) float64 { return target }
func (line) Row(origin, k int, x []float64) (value float64) {
	x[0] = float64((origin + k) % 7)
	if (origin+k)%10 == 9 {
		return 100 * x[0]
	}
	return 2 * x[0]
}

func TestRobustRidgeWeighsOutliersDown(t *testing.T) {
	t.Parallel()
	slope := func(r *Ridge) float64 {
		for end := 100; end <= 400; end += 100 { // fold by fold
			r.Train(end)
		}
		return r.coef[0][0]
	}
	robust, plain := slope(NewRobustRidge("", line{400}, 1, 1e-6)), slope(NewRidge("", line{400}, 1, 1e-6))
	if math.Abs(robust-2) > 1 || math.Abs(plain-2) < 5 {
		t.Errorf("slopes %.2f with weights and %.2f without, want 2 and one that the outliers decide", robust, plain)
	}
}

func TestRobustRidgeOfNothing(t *testing.T) {
	t.Parallel()
	d := &Data{}
	for range 400 {
		d.Append(5, false)
	}
	for name, end := range map[string]int{"a constant": 400, "no row": 100} {
		out := make([]float64, 30)
		NewRobustRidge("", NewDeviations(d, 24, 168, 6), 24, 0.1).Train(end).Forecast(end, out)
		for k, v := range out {
			if math.Abs(v-5) > 1e-9 {
				t.Errorf("%s: step %d: %v, want 5", name, k, v)
			}
		}
	}
}

func TestPhaseMean(t *testing.T) {
	t.Parallel()
	m := phaseMean{period: 2, keep: 0.5}
	for i, v := range []float64{1, 10, 3, 20, 100, 40} {
		m.append(v, i == 4) // 100 is no measurement
	}
	for _, tc := range []struct {
		target, origin int
		want           float64
		ok             bool
	}{
		{6, 6, (3 + 0.5*1) / 1.5, true},
		{7, 6, (40 + 0.5*20 + 0.25*10) / 1.75, true},
		{7, 5, (20 + 0.5*10) / 1.5, true}, // not knowing the 40
		{1, 1, 0, false},
	} {
		if got, ok := m.at(tc.target, tc.origin); math.Abs(got-tc.want) > 1e-12 || ok != tc.ok {
			t.Errorf("point %d seen from %d: %v %v, want %v %v", tc.target, tc.origin, got, ok, tc.want, tc.ok)
		}
	}
}
