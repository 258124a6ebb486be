package model_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

// tried is what an experiment says of a configuration with two cores: it held twice production's rate for a tenth more.
func tried(name string, second int, change func(*foreshadowv1.Simulation)) *foreshadowv1.CapacityMeasured {
	c := measured(0)
	c.Valid, c.MeasureTime, c.ExpireTime = false, timestamppb.New(at(second)), nil
	c.Simulation = &foreshadowv1.Simulation{
		Configuration: name, CpuCores: 2, RequestsPerSecond: 2 * capacity, Instances: 3, PricePerHour: 3.3, SizeOnly: true,
	}
	if change != nil {
		change(c.Simulation)
	}
	return c
}

func TestASizeThatWasTriedIsAdvice(t *testing.T) {
	t.Parallel()
	failed := func(s *foreshadowv1.Simulation) { s.RequestsPerSecond = 0 }
	for name, c := range map[string]struct {
		tried []*foreshadowv1.CapacityMeasured
		want  bool
	}{
		"nothing tried":                         {nil, false},
		"larger and cheaper":                    {[]*foreshadowv1.CapacityMeasured{tried("large", 1, nil)}, true},
		"the SLO was met under no load":         {[]*foreshadowv1.CapacityMeasured{tried("large", 1, failed)}, false},
		"failed when tried again":               {[]*foreshadowv1.CapacityMeasured{tried("large", 1, nil), tried("large", 2, failed)}, false},
		"failed before, told late":              {[]*foreshadowv1.CapacityMeasured{tried("large", 2, nil), tried("large", 1, failed)}, true},
		"another image too":                     {[]*foreshadowv1.CapacityMeasured{tried("large", 1, func(s *foreshadowv1.Simulation) { s.SizeOnly = false })}, false},
		"production's own size":                 {[]*foreshadowv1.CapacityMeasured{tried("large", 1, func(s *foreshadowv1.Simulation) { s.CpuCores = 0 })}, false},
		"for another SLO":                       {[]*foreshadowv1.CapacityMeasured{func() *foreshadowv1.CapacityMeasured { c := tried("large", 1, nil); c.SloQuantile = 0.5; return c }()}, false},
		"forgotten over a hundred younger ones": {append([]*foreshadowv1.CapacityMeasured{tried("large", 1, nil)}, many(failed)...), false},
	} {
		shop := shop()
		shop.Prices = workload.Prices{InstanceHour: 1}
		w := newWorld(t, shop)
		production := measured(capacity)
		production.ExpireTime = nil
		w.m.ObserveCapacity(production)
		for _, m := range c.tried {
			if w.m.ObserveCapacity(m) {
				t.Errorf("%s: a simulation passes for production's capacity", name)
			}
		}
		w.second(60)
		r := w.second(60 + int((25 * time.Hour).Seconds()))
		if a := r.GetCheaper(); (a != nil) != c.want {
			t.Errorf("%s: advice %v, want it to be there: %v", name, a, c.want)
		} else if a != nil && (a.GetConfiguration() != "large" || a.GetCpuCores() != 2 || a.GetRequestsPerSecond() != 100 || a.GetInstances() < 2 || !(a.GetPricePerHour() < 0.9*a.GetTodayPricePerHour())) {
			t.Errorf("%s: advice %v", name, a)
		}
		if got := r.GetEvidence().GetCapacityPerSecond(); got != capacity {
			t.Errorf("%s: production's capacity is %v", name, got)
		}
	}
}

func TestAMeasurementOfTheFutureGivesWayToTheNext(t *testing.T) {
	t.Parallel()
	shop := shop()
	shop.Prices = workload.Prices{InstanceHour: 1}
	w := newWorld(t, shop)
	observe := func(second int, c *foreshadowv1.CapacityMeasured) { w.m.ObserveCapacity(model.AsOf(at(second), c)) }
	// A runner's clock is a year ahead, and then set right.
	ahead := measured(9 * capacity)
	ahead.MeasureTime, ahead.ExpireTime = timestamppb.New(at(1).AddDate(1, 0, 0)), timestamppb.New(at(1).AddDate(1, 0, 0).Add(time.Hour))
	large := tried("large", 1, func(s *foreshadowv1.Simulation) { s.RequestsPerSecond = 0 })
	large.MeasureTime = ahead.MeasureTime
	observe(1, ahead)
	observe(1, large)
	if e := w.second(2).GetEvidence(); e.GetCapacityPerSecond() != 9*capacity || !e.GetCapacityMeasureTime().AsTime().Equal(at(1)) {
		t.Errorf("a measurement of the future: %v", e)
	}
	if r := w.second(7200); !has(r, "capacity_expired") {
		t.Errorf("it holds longer than its hour: %v", r.GetReasons())
	}
	today := measured(capacity)
	today.MeasureTime, today.ExpireTime = timestamppb.New(at(7201)), nil
	observe(7201, today)
	observe(7201, tried("large", 7201, nil))
	w.second(7202)
	r := w.second(7202 + int((25 * time.Hour).Seconds()))
	if got := r.GetEvidence().GetCapacityPerSecond(); got != capacity {
		t.Errorf("capacity %v, want %d as measured since", got, capacity)
	}
	if got := r.GetCheaper().GetConfiguration(); got != "large" {
		t.Errorf("advice %q, want the size that was tried since", got)
	}
}

func many(change func(*foreshadowv1.Simulation)) (out []*foreshadowv1.CapacityMeasured) {
	for i := range 100 {
		out = append(out, tried(fmt.Sprint("small", i), 10+i, change))
	}
	return out
}
