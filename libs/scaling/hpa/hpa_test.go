package hpa

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fleet(n int, value, request int64) []Pod {
	pods := make([]Pod, n)
	for i := range pods {
		pods[i] = Pod{
			Ready: ConditionTrue, Started: true, StartAge: time.Hour, TransitionAge: time.Hour,
			HasMetric: true, MetricAge: 10 * time.Second, MetricWindow: 30 * time.Second, Value: value, Request: request,
		}
	}
	return pods
}

func TestReplicasTruncateUtilization(t *testing.T) {
	t.Parallel()
	// 77.9 % is seen as 77: exactly the 10 % tolerance over 70, where the exact value would scale up.
	m := Metric{Kind: CPUUtilization, Target: 70, Pods: fleet(10, 779, 1000)}
	if got, observed, err := DefaultCalculator().Replicas(10, m); got != 10 || observed != 77 || err != nil {
		t.Errorf("got %d replicas at %d %%, %v; want 10 at 77 %%", got, observed, err)
	}
	m.Pods = fleet(10, 780, 1000)
	if got, _, _ := DefaultCalculator().Replicas(10, m); got != 12 {
		t.Errorf("got %d replicas at 78 %%, want 12", got)
	}
}

func TestReplicasErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		m    Metric
		want error
	}{
		"no target":     {Metric{Kind: CPUUtilization, Pods: fleet(1, 1, 1)}, ErrTarget},
		"no pods":       {Metric{Kind: CPUUtilization, Target: 70}, ErrNoPods},
		"no ready pods": {Metric{Kind: ExternalValue, Target: 70, External: []int64{900}}, ErrNoPods},
		"no metrics":    {Metric{Kind: PodsValue, Target: 70, Pods: make([]Pod, 3)}, ErrNoMetrics},
		"no request":    {Metric{Kind: MemoryUtilization, Target: 70, Pods: fleet(2, 5, 0)}, ErrNoRequest},
		"unknown kind":  {Metric{Kind: 99, Target: 70, Pods: fleet(1, 1, 1)}, ErrKind},
	} {
		if _, _, err := DefaultCalculator().Replicas(3, tc.m); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
	}
}

func TestReplicasFromZeroExternal(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{ExternalValue, ExternalAverage} {
		got, _, err := DefaultCalculator().Replicas(0, Metric{Kind: kind, Target: 100, External: []int64{250}})
		if got != 3 || err != nil {
			t.Errorf("kind %d: %d replicas, %v; want 3", kind, got, err)
		}
	}
}

func TestNormalizeReturnsToBounds(t *testing.T) {
	t.Parallel()
	r := Rules{Min: 2, Max: 5}
	if got, _ := r.Normalize(History{}, 9, 9, time.Unix(0, 0)); got != 5 {
		t.Errorf("above the maximum: %d, want 5", got)
	}
	if got, _ := r.Normalize(History{}, 1, 1, time.Unix(0, 0)); got != 2 {
		t.Errorf("below the minimum: %d, want 2", got)
	}
}

func TestNormalizeNeverChangesItsInput(t *testing.T) {
	t.Parallel()
	b := DefaultBehavior()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range []Rules{{Min: 1, Max: 40, Behavior: &b}, {Min: 1, Max: 40, LegacyStabilization: time.Minute}} {
		now, current := time.Unix(1e9, 0), 5
		var h History
		for range 200 {
			now = now.Add(15 * time.Second)
			desired := rng.IntN(45)
			a, next := r.Normalize(h, current, desired, now)
			again, same := r.Normalize(h, current, desired, now)
			if a != again {
				t.Fatalf("the same input gave %d, then %d", a, again)
			}
			if d := cmp.Diff(next, same, cmp.AllowUnexported(History{}, wish{}, event{})); d != "" {
				t.Fatalf("the same input gave another history:\n%s", d)
			}
			current, h = a, next
		}
		if n := len(h.wishes); n > 25 {
			t.Errorf("%d wishes remembered for a window of at most 20 ticks", n)
		}
	}
}

func BenchmarkReplicas40(b *testing.B) {
	c, m := DefaultCalculator(), Metric{Kind: CPUUtilization, Target: 70, Pods: fleet(40, 600, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Replicas(40, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNormalize(b *testing.B) {
	behavior := DefaultBehavior()
	r, now := Rules{Min: 1, Max: 100, Behavior: &behavior}, time.Unix(1e9, 0)
	var h History
	current := 10
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(15 * time.Second)
		current, h = r.Normalize(h, current, 10+i%40, now)
	}
}
