package model_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// budgeted is a workload at a second that may cost what the HPA would, and remembers ten minutes.
func budgeted(t *testing.T, second int) *world {
	t.Helper()
	shop := shop()
	shop.Policy.Budget = 1
	w := newWorld(t, shop)
	w.history(second-4*day, second)
	w.m.ObserveCapacity(measured(capacity))
	return w
}

// kept is what a model remembers, as it comes back from where it was kept.
func kept(t *testing.T, w *world) *foreshadowv1.ScalingRemembered {
	t.Helper()
	r, err := w.m.Memory()
	if err != nil || r == nil {
		t.Fatalf("memory %v, %v", r, err)
	}
	data, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out := &foreshadowv1.ScalingRemembered{}
	if err := proto.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A model that starts goes on with the verdict of the one before; without its memory it does what the HPA would for a day.
func TestARestartGoesOnFromWhatWasLearnt(t *testing.T) {
	t.Parallel()
	before := budgeted(t, 0)
	if r, err := before.m.Memory(); r != nil || err != nil {
		t.Fatalf("memory %v, %v before the first decision", r, err)
	}
	const until = 130
	var r *foreshadowv1.Recommendation
	for s := range until {
		r = before.second(s)
	}
	if has(r, "hpa_until_known") || before.m.Played() < 90*time.Second {
		t.Fatalf("nothing learnt in 130 seconds, %s played: %v", before.m.Played(), r.GetReasons())
	}
	memory := kept(t, before)
	if size := proto.Size(memory); size > 50_000 {
		t.Errorf("a memory of %d bytes", size)
	}
	for name, tc := range map[string]struct {
		away  int // seconds
		give  bool
		known bool
	}{
		"at once":                        {0, true, true},
		"a minute later":                 {60, true, true},
		"without it":                     {0, false, false},
		"when it is older than it holds": {11 * 60, true, false}, // the day that sizes are compared over is longer
	} {
		now := until + tc.away
		after := budgeted(t, now)
		after.instances = before.instances
		if tc.give {
			if played, err := after.m.Recall(memory, at(now)); err != nil || played != before.m.Played() {
				t.Errorf("%s: %s played, %v", name, played, err)
			}
		}
		r := after.second(now + 1)
		if got := !has(r, "hpa_until_known"); got != tc.known {
			t.Errorf("%s: a verdict: %v: %v", name, got, r.GetReasons())
		}
		if got := r.GetProduction().GetInstances(); got < int32(before.instances) {
			t.Errorf("%s: shrunk from %d to %d: %v", name, before.instances, got, r.GetReasons())
		}
		if got := after.m.Played(); tc.known && got > before.m.Played()+2*time.Second {
			t.Errorf("%s: %s played, it was %s: the gap counts", name, got, before.m.Played())
		}
	}
}

func TestADoubtfulMemoryChangesNothing(t *testing.T) {
	t.Parallel()
	before := budgeted(t, 0)
	for s := range 10 {
		before.second(s)
	}
	memory := kept(t, before)
	damaged := proto.CloneOf(memory)
	damaged.State[len(damaged.State)/2] ^= 1
	promised := proto.CloneOf(memory)
	promised.SloLatencySeconds = 0.1
	w := budgeted(t, day)
	for name, tc := range map[string]struct {
		memory *foreshadowv1.ScalingRemembered
		now    time.Time
		want   string
	}{
		"damaged":       {damaged, at(day), "damaged"},
		"nothing":       {&foreshadowv1.ScalingRemembered{Workload: "shop", CreateTime: timestamppb.New(at(day))}, at(day), "0 bytes"},
		"another SLO":   {promised, at(day), "another SLO"},
		"of the future": {memory, at(-day), "to come"},
		"of last year":  {memory, at(365 * 24 * 3600), "older than what it speaks of"},
	} {
		if _, err := w.m.Recall(tc.memory, tc.now); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if r := w.second(day); !has(r, "hpa_until_known") {
		t.Errorf("decided by one of them: %v", r.GetReasons())
	}
}

// What comes after more was learnt is no use any more.
func TestALateMemoryIsNotTakenOverABetterOne(t *testing.T) {
	t.Parallel()
	short, long := budgeted(t, 0), budgeted(t, 0)
	for s := range 40 {
		long.second(s)
		if s < 10 {
			short.second(s)
		}
	}
	played := long.m.Played()
	if _, err := long.m.Recall(kept(t, short), at(40)); err != nil {
		t.Fatal(err)
	}
	long.second(40)
	if got := long.m.Played(); got < played {
		t.Errorf("%s played, it was %s", got, played)
	}
}

// Sizes that were tried and those that failed are remembered too: history tells the newest few only.
func TestSizesThatFailedAreRemembered(t *testing.T) {
	t.Parallel()
	shop := shop()
	shop.Prices, shop.Policy.Size, shop.Guardrails.Resize = workload.Prices{InstanceHour: 1}, workload.Cheapest, true
	trip := func(fail bool) *foreshadowv1.Recommendation {
		w := newWorld(t, shop)
		ofToday := measured(capacity)
		ofToday.ExpireTime = nil
		w.m.ObserveCapacity(ofToday)
		large := tried("large", 1, nil)
		large.Steps = []*foreshadowv1.CapacityStep{{OfferedPerSecond: 1}}
		w.m.ObserveCapacity(large)
		if fail {
			w.m.ObserveAction(&foreshadowv1.ScalingApplied{
				ActionId: "back", Workload: "shop", Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, Outcome: foreshadowv1.Outcome_OUTCOME_ROLLED_BACK,
				From: &foreshadowv1.Sizing{CpuCores: 2}, To: &foreshadowv1.Sizing{CpuCores: 1}, CreateTime: timestamppb.New(at(30)),
			})
		}
		w.second(60)
		w.second(60 + int((25 * time.Hour).Seconds()))
		memory := kept(t, w)
		if len(memory.GetTried()) != 1 || memory.GetTried()[0].GetSteps() != nil || len(large.GetSteps()) != 1 {
			t.Errorf("tried %v", memory.GetTried())
		}
		after := newWorld(t, shop)
		now := 120 + int((25 * time.Hour).Seconds())
		for range 2 {
			if _, err := after.m.Recall(memory, at(now)); err != nil {
				t.Fatal(err)
			}
		}
		after.m.ObserveCapacity(ofToday)
		if got := len(kept(t, w).GetFailed()); fail && got != 1 {
			t.Errorf("%d failures", got)
		}
		return after.second(now)
	}
	if r := trip(false); r.GetCheaper().GetConfiguration() != "large" {
		t.Errorf("after a restart %v is cheaper: %v", r.GetCheaper(), r.GetReasons())
	}
	if r := trip(true); r.GetCheaper() != nil {
		t.Errorf("a size that failed is taken after a restart: %v", r.GetCheaper())
	}
}
