package foresight

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/forecast"
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
	var none forecast.Forecast
	if Window(f, none, 0, -1) != nil {
		t.Error("a window that ends before it begins has quantiles")
	}
	short, long := Window(f, none, 0, 1), Window(f, none, 0, 11)
	for i := range short {
		if short[i].PerSecond > long[i].PerSecond || i > 0 && short[i].PerSecond < short[i-1].PerSecond {
			t.Errorf("level %g: %g in the short window, %g in the long", short[i].Level, short[i].PerSecond, long[i].PerSecond)
		}
	}
	end := Window(f, none, 11, 11)
	for i := range end {
		if end[i].PerSecond > long[i].PerSecond || end[i].PerSecond == short[i].PerSecond {
			t.Errorf("level %g: %g in the last step, %g with those before it", end[i].Level, end[i].PerSecond, long[i].PerSecond)
		}
	}
	if d := cmp.Diff(end, Window(f, none, 40, 50)); d != "" {
		t.Errorf("beyond the forecast its last step holds: %s", d)
	}
}

func TestTheFormerForecastIsHeard(t *testing.T) {
	t.Parallel()
	at := func(start int, mean ...float64) forecast.Forecast {
		return forecast.Forecast{Start: time.Unix(int64(60*start), 0), Step: time.Minute, Mean: mean}
	}
	now := at(1, 100, 100, 100)
	for name, tc := range map[string]struct {
		former forecast.Forecast
		want   float64
	}{
		"made a step before": {at(0, 10, 10, 200, 900), 130},
		"lower":              {at(0, 50, 50, 50, 50), 85},
		"none":               {forecast.Forecast{}, 100},
		"of the same step":   {at(1, 900, 900, 900), 100},
		"too old":            {at(-1, 900, 900, 900), 100},
	} {
		got := Window(now, tc.former, 0, 1)
		for _, q := range got {
			if math.Abs(q.PerSecond-tc.want) > 1e-9 {
				t.Errorf("%s: %+v, want %g", name, got, tc.want)
				break
			}
		}
	}
}

func TestSurprise(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, tc := range []struct{ rate, expected, before, want float64 }{
		{120, 90, 90, 30}, {120, 90, 40, 30}, {80, 90, 100, -10}, {80, 90, nan, -10}, // above, and below what does not rise
		{60, 90, 50, 0}, {45, 90, 50, -5}, // on the way up, or not yet; and below where it was
		{nan, 90, 90, 0}, {90, nan, 90, 0},
	} {
		if got := Surprise(tc.rate, tc.expected, tc.before); got != tc.want {
			t.Errorf("%g where %g was expected after %g: %g, want %g", tc.rate, tc.expected, tc.before, got, tc.want)
		}
	}
}
