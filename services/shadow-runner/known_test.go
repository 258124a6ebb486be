package shadowrunner

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

var (
	dawn = time.Unix(1_000_000, 0)
	goal = probe.SLO{Quantile: 0.95, Latency: 100 * time.Millisecond}
)

// measured is a capacity of v1 that was measured so long after dawn.
func measured(rate float64, after time.Duration, edit func(*foreshadowv1.CapacityMeasured)) *foreshadowv1.CapacityMeasured {
	at := dawn.Add(after)
	m := &foreshadowv1.CapacityMeasured{
		Workload: "shop", Version: "v1", Valid: true, Precise: true, RequestsPerSecond: rate, SloQuantile: goal.Quantile, SloLatencySeconds: goal.Latency.Seconds(),
		MeasureTime: timestamppb.New(at), ExpireTime: timestamppb.New(at.Add(time.Hour)),
	}
	if edit != nil {
		edit(m)
	}
	return m
}

func TestWhatAnotherRunnerMeasuredIsAdopted(t *testing.T) {
	t.Parallel()
	now := dawn.Add(10 * time.Minute)
	for name, c := range map[string]struct {
		edit func(*foreshadowv1.CapacityMeasured)
		at   time.Duration
		want float64
	}{
		"newer":              {nil, 2 * time.Minute, 70},
		"older":              {nil, -time.Minute, 50},
		"not valid":          {func(m *foreshadowv1.CapacityMeasured) { m.Valid = false }, 2 * time.Minute, 50},
		"of another latency": {func(m *foreshadowv1.CapacityMeasured) { m.SloLatencySeconds = 1 }, 2 * time.Minute, 50},
		"of another tail":    {func(m *foreshadowv1.CapacityMeasured) { m.SloQuantile = 0.99 }, 2 * time.Minute, 50},
		"expired":            {func(m *foreshadowv1.CapacityMeasured) { m.ExpireTime = timestamppb.New(now) }, 2 * time.Minute, 50},
	} {
		var k knowledge
		k.add(measured(50, 0, nil))
		k.recall(measured(70, c.at, c.edit), goal, now)
		if got := k.rate(); got != c.want {
			t.Errorf("%s: %v requests/s, want %v", name, got, c.want)
		}
		if why, _ := k.due(now, platform.Instance{Version: "v1"}, nil, 0); why != "" {
			t.Errorf("%s: measured again: %s", name, why)
		}
	}
	var k knowledge
	if why, before := k.due(now, platform.Instance{Version: "v1"}, nil, 0); why != measure.NotKnown || len(before) > 0 {
		t.Errorf("nothing is known: due because %q, from %v", why, before)
	}
}

// What this runner publishes comes back to it and is not taken for news, nor is what it learnt of the warm-up since undone.
func TestWhatComesBackChangesNothing(t *testing.T) {
	t.Parallel()
	var k, other knowledge
	mine := measured(50, 0, nil)
	k.add(mine)
	if k.warmed(warmth{version: "v2", at: dawn, seconds: 3}) != nil {
		t.Error("the warm-up of another version is published with it")
	}
	learnt := warmth{version: "v1", at: dawn.Add(time.Minute), seconds: 8}
	again := k.warmed(learnt)
	if again.GetWarmupSeconds() != 8 || mine.GetWarmupSeconds() != 0 {
		t.Errorf("published again as %v, and what was published before is %v", again, mine)
	}
	next := measured(60, 2*time.Minute, nil)
	k.add(next)
	for _, m := range []*foreshadowv1.CapacityMeasured{mine, again, next} {
		k.recall(proto.CloneOf(m), goal, dawn.Add(3*time.Minute))
		other.recall(proto.CloneOf(m), goal, dawn.Add(3*time.Minute))
	}
	if k.rate() != 60 || next.GetWarmupSeconds() != 8 {
		t.Errorf("%v requests/s, warm after %v s", k.rate(), next.GetWarmupSeconds())
	}
	// The other runner knows the same, and learns of the warm-up from a measurement that it has already.
	if w := other.warmth(); other.rate() != 60 || w.version != "v1" || w.seconds != 8 {
		t.Errorf("the other knows %v requests/s and %+v", other.rate(), w)
	}
}

// A clock that was ahead must not keep a capacity of the future until its time has come.
func TestACapacityOfTheFutureGivesWay(t *testing.T) {
	t.Parallel()
	now := dawn.Add(time.Hour)
	ahead := func(m *foreshadowv1.CapacityMeasured) { m.WarmupSeconds = 9 }
	var k knowledge
	k.recall(measured(90, 1000*time.Hour, ahead), goal, now)
	if why, _ := k.due(now, platform.Instance{Version: "v1"}, nil, 0); why != measure.Old || k.rate() != 90 {
		t.Errorf("%v requests/s of the future are due because %q", k.rate(), why)
	}
	k.recall(measured(50, 50*time.Minute, func(m *foreshadowv1.CapacityMeasured) { m.WarmupSeconds = 3 }), goal, now)
	if why, _ := k.due(now, platform.Instance{Version: "v1"}, nil, 0); why != "" || k.rate() != 50 || k.warmth().seconds != 3 {
		t.Errorf("%v requests/s, warm after %v s, due because %q", k.rate(), k.warmth().seconds, why)
	}
}
