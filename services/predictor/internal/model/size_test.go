package model_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// sizedWorld is one whose capacity was measured on instances of one core, and whose production is moved to what costs least.
func sizedWorld(t *testing.T) *world {
	t.Helper()
	shop := shop()
	shop.Prices = workload.Prices{InstanceHour: 1}
	shop.Production.CPUCores = 1
	shop.Policy.Size, shop.Guardrails.Resize = workload.Cheapest, true
	w := newWorld(t, shop)
	w.instances = 4
	m := measured(capacity)
	m.ExpireTime, m.GivenCpuCores, m.Bottleneck = nil, 1, foreshadowv1.Bottleneck_BOTTLENECK_DOWNSTREAM
	w.m.ObserveCapacity(m)
	return w
}

// serve lets a second pass in which every instance was given so many cores.
func (w *world) serve(second int, cores ...float64) *foreshadowv1.Recommendation {
	w.t.Helper()
	n := w.count(second)
	w.observe(traffic(second, 1, map[string]uint64{"GET /": n}))
	u := using(second, len(cores), &foreshadowv1.InstanceUsage{CpuCores: 0.01 * float64(n) / float64(len(cores))})
	for i, c := range cores {
		u.GetUsage().Instances[i].GivenCpuCores = c
	}
	w.observe(u)
	return w.decide(second)
}

func TestUtilizationIsOfWhatInstancesWereGiven(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cores []float64
		most  int32 // what the HPA may hold of 6
		least int32
	}{
		"as declared":            {[]float64{1, 1, 1, 1, 1, 1}, 6, 5},
		"the platform says none": {[]float64{0, 0, 0, 0, 0, 0}, 6, 5},
		// Two thirds of a core are used of a quarter each.
		"a quarter each": {[]float64{0.25, 0.25, 0.25, 0.25, 0.25, 0.25}, 12, 10},
	} {
		w := sizedWorld(t)
		r := w.serve(60, tc.cores...)
		if got := r.GetHpaInstances(); got < tc.least || got > tc.most {
			t.Errorf("%s: the HPA would hold %d, want %d to %d", name, got, tc.least, tc.most)
		}
	}
}

func TestACapacityHoldsForItsSize(t *testing.T) {
	t.Parallel()
	w := sizedWorld(t)
	if r := w.serve(60, 1, 1, 1, 1); has(r, "capacity_other_size") || r.GetShadow().GetInstances() != 0 {
		t.Errorf("its own size: %v", r.GetReasons())
	} else if e := r.GetEvidence(); e.GetBottleneck() != foreshadowv1.Bottleneck_BOTTLENECK_DOWNSTREAM || !(e.GetBottleneckGrowth() > 0) {
		t.Errorf("what runs out first: %v", e)
	}
	if r := w.serve(61, 1, 2, 1, 1); !has(r, "capacity_other_size") || !has(r, "capacity_expired") || r.GetShadow().GetInstances() == 0 {
		t.Errorf("one instance of another size: %v", r.GetReasons())
	}
	w.serve(62, 2, 2, 2, 2)
	again := measured(1.8 * capacity)
	again.ExpireTime, again.GivenCpuCores, again.MeasureTime = nil, 2, timestamppb.New(at(63))
	w.m.ObserveCapacity(again)
	if r := w.serve(64, 2, 2, 2, 2); has(r, "capacity_other_size") || math.Abs(r.GetEvidence().GetCapacityPerSecond()-1.8*capacity) > 1e-9 {
		t.Errorf("measured anew: %v %v", r.GetEvidence(), r.GetReasons())
	}
	if r := w.serve(65, 0, 0, 0, 0); has(r, "capacity_other_size") {
		t.Errorf("a platform that does not say: %v", r.GetReasons())
	}
}

func TestProductionFollowsASizeAndComesBackFromIt(t *testing.T) {
	t.Parallel()
	w := sizedWorld(t)
	w.m.ObserveCapacity(tried("large", 1, nil)) // two cores, twice the capacity
	w.serve(120, 1, 1, 1, 1)
	later := 120 + int((25 * time.Hour).Seconds())
	r := w.serve(later, 1, 1, 1, 1)
	if r.GetProduction().GetCpuCores() != 2 || !has(r, "size_change") || r.GetProduction().GetInstances() < 2 {
		t.Fatalf("not on the way: %v %v", r.GetProduction(), r.GetReasons())
	}
	r = w.serve(later+1, 2, 2, 2, 2)
	if r.GetProduction().GetCpuCores() != 0 || r.GetEvidence().GetCapacityPerSecond() != 2*capacity || !has(r, "capacity_rough") {
		t.Errorf("arrived: %v %v %v", r.GetProduction(), r.GetEvidence(), r.GetReasons())
	}
	back := applied("a/rollback", later+2, 0)
	back.Outcome, back.From = foreshadowv1.Outcome_OUTCOME_ROLLED_BACK, &foreshadowv1.Sizing{Instances: 4, CpuCores: 2}
	w.m.ObserveAction(back)
	if r = w.serve(later+3, 1, 1, 1, 1); r.GetProduction().GetCpuCores() != 0 || has(r, "cheaper_size") {
		t.Errorf("a size that users fared worse under is asked for again: %v %v", r.GetProduction(), r.GetReasons())
	}
	w.m.ObserveCapacity(tried("large", later+4, nil))
	if r = w.serve(later+5, 1, 1, 1, 1); r.GetProduction().GetCpuCores() != 2 {
		t.Errorf("tried anew: %v %v", r.GetProduction(), r.GetReasons())
	}
}
