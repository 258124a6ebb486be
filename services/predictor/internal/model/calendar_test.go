package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
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

// TestAShutdownIsNoOutage: nobody comes, as the calendar says. Without it, what is there stays until the outage ends.
func TestAShutdownIsNoOutage(t *testing.T) {
	t.Parallel()
	const begin, end = 180, 240 // from the busy time of the second day on
	shutdown := calendar.Event{
		Name: "shutdown", Start: at(begin).Format("2006-01-02 15:04"), End: at(end).Format("2006-01-02 15:04"), Multiplier: new(0.0),
	}
	for _, kind := range []workload.PolicyKind{workload.Predictive, workload.Reactive} {
		for _, events := range [][]calendar.Event{nil, {shutdown}} {
			c := shop()
			c.Policy.Kind, c.Policy.OutageHold, c.Policy.ScaleDownAfter = kind, 30*time.Second, 5*time.Second
			c.Calendar.Events = events
			w := newWorld(t, c)
			w.history(-8*day, 0)
			w.m.ObserveCapacity(measured(capacity))
			for s := range begin {
				w.second(s)
			}
			before := w.instances
			var r *foreshadowv1.Recommendation
			for s := begin; s < begin+20; s++ {
				w.observe(traffic(s, 1, map[string]uint64{"GET /": 0}))
				w.observe(using(s, w.instances, &foreshadowv1.InstanceUsage{CpuCores: 0.1}))
				r = w.decide(s)
				w.instances = int(r.GetProduction().GetInstances())
			}
			if known := len(events) > 0; known != (w.instances == 1) || !known && w.instances < before {
				t.Errorf("%s, %d events: %d instances for nobody, %d before: %v", kind, len(events), w.instances, before, r.GetReasons())
			}
		}
	}
}
