package calendar_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

func utc(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func schedule(t *testing.T, c calendar.Calendar) *calendar.Schedule {
	t.Helper()
	s, err := calendar.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOccurrencesKeepToTheLocalClock(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		event    calendar.Event
		from, to string
		want     []string
	}{
		"a date is a local day": {
			calendar.Event{Name: "e", Start: "2026-07-01"}, "2026-06-01 00:00", "2026-08-01 00:00",
			[]string{"2026-06-30 22:00 - 2026-07-01 22:00"},
		},
		"weekly at 18:00 over the change to winter time": {
			calendar.Event{Name: "e", Start: "2026-10-20 18:00", End: "2026-10-20 19:00", Repeat: "weekly"},
			"2026-10-13 00:00", "2026-10-28 00:00",
			[]string{"2026-10-13 16:00 - 2026-10-13 17:00", "2026-10-20 16:00 - 2026-10-20 17:00", "2026-10-27 17:00 - 2026-10-27 18:00"},
		},
		"daily": {
			calendar.Event{Name: "e", Start: "2020-01-01 03:00", End: "2020-01-01 03:30", Repeat: "daily"},
			"2026-03-28 12:00", "2026-03-30 12:00",
			[]string{"2026-03-29 01:00 - 2026-03-29 01:30", "2026-03-30 01:00 - 2026-03-30 01:30"},
		},
		"yearly, from before the first one and over the new year": {
			calendar.Event{Name: "e", Start: "2030-12-31 20:00", End: "2031-01-01 02:00", Repeat: "yearly"},
			"2026-01-01 00:30", "2026-12-31 19:30",
			[]string{"2025-12-31 19:00 - 2026-01-01 01:00", "2026-12-31 19:00 - 2027-01-01 01:00"},
		},
		"once, elsewhere": {
			calendar.Event{Name: "e", Start: "2026-07-01"}, "2026-07-02 00:00", "2026-08-01 00:00", nil,
		},
	} {
		s := schedule(t, calendar.Calendar{TimeZone: "Europe/Berlin", Events: []calendar.Event{tc.event}})
		var got []string
		for _, o := range s.Occurrences(utc(tc.from), utc(tc.to)) {
			got = append(got, o.Start.UTC().Format("2006-01-02 15:04")+" - "+o.End.UTC().Format("2006-01-02 15:04"))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	s := schedule(t, calendar.Calendar{Events: []calendar.Event{
		{Name: "sale", Start: "2026-01-01", Multiplier: new(2.5)}, {Name: "holiday", Start: "2026-01-02", Like: "Sunday"},
		{Name: "outage", Start: "2026-01-03", Exclude: true}, {Name: "match", Start: "2026-01-04"},
		{Name: "shutdown", Start: "2026-01-05", Multiplier: new(0.0)},
	}})
	got := s.Occurrences(utc("2026-01-01 00:00"), utc("2026-02-01 00:00"))
	want := []calendar.Effect{calendar.Multiply, calendar.Resemble, calendar.Ignore, calendar.Learn, calendar.Multiply}
	if len(got) != len(want) {
		t.Fatalf("%d occurrences, want %d", len(got), len(want))
	}
	for i, o := range got {
		if o.Effect != want[i] || o.Event != i {
			t.Errorf("%s: effect %v of event %d, want %v of %d", o.Name, o.Effect, o.Event, want[i], i)
		}
	}
	if got[0].Multiplier != 2.5 || got[1].Like != time.Sunday {
		t.Errorf("multiplier %v, like %v", got[0].Multiplier, got[1].Like)
	}
}

func TestLocalClock(t *testing.T) {
	t.Parallel()
	s := schedule(t, calendar.Calendar{TimeZone: "America/New_York"})
	if got := s.Offset(utc("2026-07-01 12:00")); got != -4*time.Hour {
		t.Errorf("offset in July %v, want -4h", got)
	}
	if got := s.Offset(utc("2026-01-01 12:00")); got != -5*time.Hour {
		t.Errorf("offset in January %v, want -5h", got)
	}
	// Monday 03:00 UTC is still Sunday there.
	if got := s.SinceSunday(utc("2026-01-05 03:00")); got != 22*time.Hour {
		t.Errorf("%v since Sunday, want 22h", got)
	}
}

func TestFaultsAreJoinedAndNamed(t *testing.T) {
	t.Parallel()
	err := calendar.Calendar{TimeZone: "Mars/Olympus", Events: []calendar.Event{
		{},
		{Name: "a", Start: "2026-01-02", End: "2026-01-02"},
		{Name: "b", Start: "tomorrow", Repeat: "hourly", Multiplier: new(-1.0)},
		{Name: "c", Start: "2026-01-02", Like: "someday"},
		{Name: "d", Start: "2026-01-02", Like: "sunday", Exclude: true},
		{Name: "e", Start: "2026-01-02", End: "2026-01-04", Repeat: "daily"},
		{Name: "f", Start: "2026-01-02", Like: "sunday", Multiplier: new(0.0)},
		{Name: "g", Start: "2026-01-02", Multiplier: new(math.NaN())},
	}}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"time_zone: ", "events[0].start: ", "events[0].name: is missing", "events[1].end: 2026-01-02 is not after", "events[2].start: ",
		`events[2].repeat: want daily, weekly or yearly, got "hourly"`, "events[2].multiplier: want", "events[3].like: ",
		"events[4]: only one of", "events[5].end: the event would overlap",
		"events[6]: only one of", "events[7].multiplier: want a value from 0, for nothing, to 1000, got NaN",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
	if err := (calendar.Calendar{}).Validate(); err != nil {
		t.Errorf("an empty calendar: %v", err)
	}
}

func FuzzCalendar(f *testing.F) {
	f.Add("Europe/Berlin", "2026-01-01", "2026-01-02 10:00", "weekly", int64(1e9))
	f.Add("UTC", "0001-01-01", "9999-12-31", "yearly", int64(0))
	f.Fuzz(func(t *testing.T, zone, start, end, repeat string, at int64) {
		s, err := calendar.New(calendar.Calendar{TimeZone: zone, Events: []calendar.Event{{Name: "e", Start: start, End: end, Repeat: repeat}}})
		if err != nil {
			return
		}
		from := time.Unix(at%(1<<33), 0)
		to := from.Add(40 * 24 * time.Hour)
		for _, o := range s.Occurrences(from, to) {
			if !o.Start.Before(to) || !o.End.After(from) {
				t.Errorf("%s - %s does not overlap %s - %s", o.Start, o.End, from, to)
			}
		}
	})
}
