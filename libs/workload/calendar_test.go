package workload_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const calendarYAML = `
    calendar:
      time_zone: Europe/Berlin
      events:
        - {name: black friday, start: 2026-11-27, end: 2026-11-30, repeat: yearly, multiplier: 2.5}
        - {name: christmas, start: "2026-12-25", end: "2026-12-27", repeat: yearly, like: sunday}
        - {name: outage, start: 2026-10-03 14:00, end: 2026-10-03 16:30, exclude: true}
        - {name: shutdown, start: 2026-10-04 22:00, end: 2026-10-05 02:00, multiplier: 0}
`

func TestCalendarIsPlainConfiguration(t *testing.T) {
	t.Parallel()
	var f file
	if err := workload.Decode("f.yaml", []byte(valid+calendarYAML), nil, &f); err != nil {
		t.Fatal(err)
	}
	w := f.Workloads[0]
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	want := calendar.Calendar{TimeZone: "Europe/Berlin", Events: []calendar.Event{
		{Name: "black friday", Start: "2026-11-27", End: "2026-11-30", Repeat: "yearly", Multiplier: new(2.5)},
		{Name: "christmas", Start: "2026-12-25", End: "2026-12-27", Repeat: "yearly", Like: "sunday"},
		{Name: "outage", Start: "2026-10-03 14:00", End: "2026-10-03 16:30", Exclude: true},
		{Name: "shutdown", Start: "2026-10-04 22:00", End: "2026-10-05 02:00", Multiplier: new(0.0)},
	}}
	if diff := cmp.Diff(want, w.Calendar); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCalendarFaultsNameTheirKey(t *testing.T) {
	t.Parallel()
	var f file
	if err := workload.Decode("f.yaml", []byte(strings.Replace(valid+calendarYAML, "like: sunday", "like: suday, multiplier: -2", 1)), nil, &f); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"calendar.events[1].like: want a day of the week", "calendar.events[1].multiplier: want a value from 0"} {
		if err := f.Workloads[0].Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
	err := workload.Decode("f.yaml", []byte(strings.Replace(valid+calendarYAML, "repeat: yearly", "repaet: yearly", 1)), nil, &f)
	if err == nil || !strings.Contains(err.Error(), `did you mean "repeat"?`) {
		t.Errorf("Decode = %v, want the misspelt key named", err)
	}
}
