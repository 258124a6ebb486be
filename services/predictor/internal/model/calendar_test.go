package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// TestAKnownEventIsPreparedFor: the demand does not show it yet, the calendar says that it comes.
func TestAKnownEventIsPreparedFor(t *testing.T) {
	t.Parallel()
	launch := epoch.Add(time.Minute)
	c := shop()
	c.Calendar.Events = []calendar.Event{{
		Name: "launch", Start: launch.Format("2006-01-02 15:04"), End: launch.Add(time.Minute).Format("2006-01-02 15:04"), Multiplier: new(3.0),
	}}
	told, blind := newWorld(t, c), newWorld(t, shop())
	for _, w := range []*world{told, blind} {
		w.history(-8*day, 0)
		w.m.ObserveCapacity(measured(capacity))
		for s := range 56 { // the launch begins at 60, an instance takes four seconds
			w.second(s)
		}
	}
	r, plain := told.second(56), blind.second(56)
	if got, usual := r.GetProduction().GetInstances(), plain.GetProduction().GetInstances(); got < 2*usual {
		t.Errorf("%d instances four seconds before demand triples, %d without the calendar", got, usual)
	}
	f, err := told.m.Forecast(at(57), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"launch"}, f.GetEvents()); diff != "" {
		t.Errorf("events of the forecast (-want +got):\n%s", diff)
	}
	for _, reason := range r.GetReasons() {
		if strings.Contains(reason.GetText(), "launch") {
			return
		}
	}
	t.Errorf("no reason names the launch: %v", r.GetReasons())
}
