package forecast_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// weekly is the demand of a service by the hour of the local clock: busy days from Monday to Friday, quiet weekends.
func weekly(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60
	v := 300 - 200*math.Cos(2*math.Pi*(hour-3)/24)
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		v *= 0.4
	}
	return v
}

// hourly is n hours of it in a zone, from the epoch, changed by edit.
func hourly(t *testing.T, zone string, n int, edit func(local time.Time, v float64) float64) []float64 {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	out := make([]float64, n)
	for i := range out {
		local := epoch.Add(time.Duration(i) * time.Hour).In(location)
		out[i] = weekly(local) * (1 + 0.03*rng.NormFloat64())
		if edit != nil {
			out[i] = edit(local, out[i])
		}
	}
	return out
}

// engine forecasts hourly demand with a calendar.
func engine(t *testing.T, c calendar.Calendar, values []float64) *forecast.Engine {
	t.Helper()
	return loaded(t, forecast.Config{Step: time.Hour, History: sixWeeks, Horizon: 24, Calendar: c}, values)
}

// miss is how far a day of forecasts from hour n is off what is true, as a share of it.
func miss(t *testing.T, e *forecast.Engine, n int, truth func(hour int) float64) float64 {
	t.Helper()
	f, err := e.Forecast(epoch.Add(time.Duration(n)*time.Hour), 24)
	if err != nil {
		t.Fatal(err)
	}
	sum, all := 0.0, 0.0
	for k, m := range f.Mean {
		sum += math.Abs(m - truth(n+k))
		all += truth(n + k)
	}
	return sum / all
}

func hour(i int) time.Time { return epoch.Add(time.Duration(i) * time.Hour) }

const sixWeeks = 6 * 7 * 24

func TestAMultiplierIsForeseen(t *testing.T) {
	t.Parallel()
	values := hourly(t, "UTC", sixWeeks, nil)
	plain, err := engine(t, calendar.Calendar{}, values).Forecast(hour(sixWeeks), 24)
	if err != nil {
		t.Fatal(err)
	}
	for _, multiplier := range []float64{3, 0} {
		sale := calendar.Event{
			Name: "sale", Start: hour(sixWeeks + 6).Format("2006-01-02 15:04"), End: hour(sixWeeks + 12).Format("2006-01-02 15:04"), Multiplier: &multiplier,
		}
		got, err := engine(t, calendar.Calendar{Events: []calendar.Event{sale}}, values).Forecast(hour(sixWeeks), 24)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"sale"}, got.Events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for k := range got.Mean {
			want := 1.0
			if k >= 6 && k < 12 {
				want = multiplier
			}
			for _, pair := range [][2]float64{
				{got.Mean[k], plain.Mean[k]}, {got.Quantile(k, 0.95), plain.Quantile(k, 0.95)}, {got.MaxQuantile(k, k, 0.95), plain.MaxQuantile(k, k, 0.95)},
			} {
				if math.Abs(pair[0]/pair[1]-want) > 1e-9 {
					t.Errorf("step %d: %v where %v is usual, want %v times as much", k, pair[0], pair[1], want)
				}
			}
		}
		if sees, usual := got.MaxQuantile(0, 23, 0.95), plain.MaxQuantile(0, 23, 0.95); multiplier > 1 && sees < 2*usual {
			t.Error("the maximum does not see the sale")
		}
	}
}

// TestEventsOfThePastDoNotMislead: an engine that is not told of the outage, the test, the holiday and the sale of every ten days is
// off by 0.27 to 1.49.
func TestEventsOfThePastDoNotMislead(t *testing.T) {
	t.Parallel()
	day := func(i int) string { return hour(24 * i).Format(time.DateOnly) }
	usual := func(i int) float64 { return weekly(hour(i)) }
	const today = 42 // a Monday
	during := func(days []int, do func(hour int, v float64) float64) func(time.Time, float64) float64 {
		return func(at time.Time, v float64) float64 {
			if i := int(at.Sub(epoch).Hours()); slices.Contains(days, i/24) {
				return do(i, v)
			}
			return v
		}
	}
	like := func(d time.Duration) func(int) float64 { return func(i int) float64 { return weekly(hour(i).Add(d)) } }
	for name, tc := range map[string]struct {
		events []calendar.Event
		edit   func(time.Time, float64) float64
		truth  func(int) float64
	}{
		"an outage yesterday": {
			[]calendar.Event{{Name: "outage", Start: day(today - 1), Exclude: true}},
			during([]int{today - 1}, func(int, float64) float64 { return 0 }), usual,
		},
		"a shutdown yesterday": {
			[]calendar.Event{{Name: "shutdown", Start: day(today - 1), Multiplier: new(0.0)}},
			during([]int{today - 1}, func(int, float64) float64 { return 0 }), usual,
		},
		"a shutdown on the same day of the last week, which some got around": {
			[]calendar.Event{{Name: "shutdown", Start: day(today - 7), Multiplier: new(0.0)}},
			during([]int{today - 7}, func(_ int, v float64) float64 { return v / 10 }), usual,
		},
		"a test on the same day of the last week": {
			[]calendar.Event{{Name: "test", Start: day(today - 7), Multiplier: new(5.0)}},
			during([]int{today - 7}, func(_ int, v float64) float64 { return 5 * v }), usual,
		},
		"a public holiday": {
			[]calendar.Event{{Name: "holiday", Start: day(today), Like: "sunday"}}, nil, like(-24 * time.Hour),
		},
		"a sale that was there before": {
			[]calendar.Event{{Name: "sale", Start: day(today - 21), End: day(today - 20), Repeat: "weekly"}},
			during([]int{0, 7, 14, 21, 28, 35}, func(_ int, v float64) float64 { return v }),
			usual,
		},
		"a sale that is every ten days": {
			[]calendar.Event{
				{Name: "sale", Start: day(today), Multiplier: new(2.0)}, {Name: "sale", Start: day(today - 10), Multiplier: new(2.0)},
				{Name: "sale", Start: day(today - 20), Multiplier: new(2.0)},
			},
			during([]int{today - 10, today - 20}, func(_ int, v float64) float64 { return 2 * v }),
			func(i int) float64 { return 2 * usual(i) },
		},
	} {
		values := hourly(t, "UTC", 24*today, tc.edit)
		got := miss(t, engine(t, calendar.Calendar{Events: tc.events}, values), len(values), tc.truth)
		if got > 0.1 {
			t.Errorf("%s: off by %.2f", name, got)
		}
	}
}

func TestAnEventIsLearntFromItsEarlierOccurrences(t *testing.T) {
	t.Parallel()
	// A match every ninth day is no cycle of three repetitions within the history that a daily model could know.
	var events []calendar.Event
	match := func(i int) bool { return i%9 == 0 && i > 0 }
	values := hourly(t, "UTC", 24*36, func(at time.Time, v float64) float64 {
		if i := int(at.Sub(epoch).Hours()); match(i/24) && i%24 >= 18 && i%24 < 21 {
			return 4 * v
		}
		return v
	})
	for i := 9; i <= 36; i += 9 {
		events = append(events, calendar.Event{Name: "match", Start: hour(24*i + 18).Format("2006-01-02 15:04"), End: hour(24*i + 21).Format("2006-01-02 15:04")})
	}
	f, err := engine(t, calendar.Calendar{Events: events}, values).Forecast(hour(24*36), 24)
	if err != nil {
		t.Fatal(err)
	}
	for k := range f.Mean {
		want := weekly(hour(24*36 + k))
		if k >= 18 && k < 21 {
			want *= 4
		}
		if math.Abs(f.Mean[k]-want) > 0.15*want {
			t.Errorf("hour %d: %.0f, want about %.0f", k, f.Mean[k], want)
		}
	}
}

func TestHabitsKeepToTheLocalClock(t *testing.T) {
	t.Parallel()
	location, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	truth := func(i int) float64 { return weekly(hour(i).In(location)) }
	berlin := calendar.Calendar{TimeZone: "Europe/Berlin"}
	change := int(time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC).Sub(epoch).Hours())
	for _, from := range []int{change - 12, change + 30} {
		values := hourly(t, "Europe/Berlin", from, nil)
		got, blind := miss(t, engine(t, berlin, values), from, truth), miss(t, engine(t, calendar.Calendar{}, values), from, truth)
		if got > 0.06 || blind < got {
			t.Errorf("%d hours after the change: off by %.3f, without the zone %.3f", from-change, got, blind)
		}
	}
	// The same when the change comes while the engine runs.
	e := engine(t, berlin, hourly(t, "Europe/Berlin", change-30, nil))
	if err := e.Refit(); err != nil {
		t.Fatal(err)
	}
	all := hourly(t, "Europe/Berlin", change+30, nil)
	for i := change - 30; i < change+30; i++ {
		if i == change-29 && e.NeedsRefit() {
			t.Error("wants to learn anew long before the change")
		}
		if i%6 == 0 {
			if _, err := e.Forecast(hour(i), 24); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Observe(hour(i), all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := miss(t, e, change+30, truth); got > 0.06 {
		t.Errorf("after a change on the way: off by %.3f", got)
	}
}

// TestAChangeOfClocksIsLearntOnce: at the very moment of the change nothing is left to learn anew.
func TestAChangeOfClocksIsLearntOnce(t *testing.T) {
	t.Parallel()
	change := int(time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC).Sub(epoch).Hours())
	all := hourly(t, "Europe/Berlin", change+2, nil)
	e := engine(t, calendar.Calendar{TimeZone: "Europe/Berlin"}, all[:change])
	for i := change; i < change+2; i++ {
		if err := e.Refit(); err != nil {
			t.Fatal(err)
		}
		if e.NeedsRefit() {
			t.Errorf("%d hours after the change: wants to learn anew what it just learnt", i-change)
		}
		if err := e.Observe(hour(i), all[i]); err != nil {
			t.Fatal(err)
		}
		if i == change && !e.NeedsRefit() {
			t.Error("does not want to learn the new clock")
		}
	}
}

func TestSavedStateKnowsItsCalendar(t *testing.T) {
	t.Parallel()
	cfg := forecast.Config{Step: time.Hour, History: 2000, Horizon: 24, Calendar: calendar.Calendar{
		TimeZone: "Europe/Berlin", Events: []calendar.Event{{Name: "sale", Start: "2026-01-20", Repeat: "weekly"}},
	}}
	e := loaded(t, cfg, hourly(t, "Europe/Berlin", sixWeeks, nil))
	want, err := e.Forecast(hour(sixWeeks), 24)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := e.Save()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := forecast.Restore(cfg, saved)
	if err != nil {
		t.Fatal(err)
	}
	got, err := restored.Forecast(hour(sixWeeks), 24)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Mean, got.Mean); diff != "" {
		t.Errorf("(-saved +restored):\n%s", diff)
	}
}
