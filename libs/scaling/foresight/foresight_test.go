package foresight

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStep(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ interval, history, want time.Duration }{
		{15 * time.Second, 14 * 24 * time.Hour, 5 * time.Minute},
		{15 * time.Second, 14*24*time.Hour + time.Second, 5*time.Minute + 15*time.Second},
		{time.Second, 14 * time.Minute, time.Second}, // a compressed week
		{time.Hour, 24 * time.Hour, time.Hour},
	} {
		if got := Step(tc.interval, tc.history); got != tc.want {
			t.Errorf("interval %s, history %s: step %s, want %s", tc.interval, tc.history, got, tc.want)
		}
	}
}

func TestHorizon(t *testing.T) {
	t.Parallel()
	for hold, want := range map[time.Duration]int{0: 12, 100 * time.Minute: 22, 1e6 * time.Minute: 2000} {
		if got := Horizon(hold, 5*time.Minute); got != want {
			t.Errorf("hold %s: %d steps, want %d", hold, got, want)
		}
	}
}

func TestPeaks(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	got := Peaks([]float64{nan, 2, 1, nan, nan, nan, 5}, 3)
	if d := cmp.Diff([]float64{2, nan, 5}, got, cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]float64{1, 2}, Peaks([]float64{1, 2}, 1)); d != "" {
		t.Error(d)
	}
}

func TestWindowGrowsWithItsLengthAndLevel(t *testing.T) {
	t.Parallel()
	e, err := forecast.New(forecast.Config{Step: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s := forecast.Series{Start: time.Unix(0, 0), Step: time.Minute}
	for i := range 400 {
		s.Values = append(s.Values, 100+50*math.Sin(float64(i)/8)+float64(i*7919%13))
	}
	if err := e.Load(s); err != nil {
		t.Fatal(err)
	}
	f, err := e.Forecast(s.Time(400), 12)
	if err != nil {
		t.Fatal(err)
	}
	if Window(f, -1) != nil {
		t.Error("a window that ends before it begins has quantiles")
	}
	short, long := Window(f, 1), Window(f, 11)
	for i := range short {
		if short[i].PerSecond > long[i].PerSecond || i > 0 && short[i].PerSecond < short[i-1].PerSecond {
			t.Errorf("level %g: %g in the short window, %g in the long", short[i].Level, short[i].PerSecond, long[i].PerSecond)
		}
	}
}

func TestRaise(t *testing.T) {
	t.Parallel()
	q := []scaling.Quantile{{Level: 0.5, PerSecond: 100}, {Level: 0.95, PerSecond: 120}}
	for _, rate := range []float64{80, 90, math.NaN()} {
		if d := cmp.Diff(q, Raise(q, rate, 90)); d != "" {
			t.Errorf("rate %g: %s", rate, d)
		}
	}
	want := []scaling.Quantile{{Level: 0.5, PerSecond: 130}, {Level: 0.95, PerSecond: 150}}
	if d := cmp.Diff(want, Raise(q, 120, 90)); d != "" || q[0].PerSecond != 100 {
		t.Errorf("raised by 30: %s", d)
	}
	if d := cmp.Diff(q, Raise(q, 120, math.NaN())); d != "" {
		t.Errorf("nothing was expected: %s", d)
	}
}
