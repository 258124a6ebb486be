package quality

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// second is a window of one second of production, of two strata.
func second(n int, revision, answered, violations uint64) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: "shop", Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, DurationSeconds: 1, Revision: revision,
		StartTime: timestamppb.New(noon.Add(time.Duration(n) * time.Second)),
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{Strata: []*foreshadowv1.Traffic{
			{Responses: answered - 1, SloViolations: violations}, {Responses: 1},
		}}},
	}
}

func TestWindowsCountOnce(t *testing.T) {
	t.Parallel()
	q := New()
	for n := range 10 {
		q.Observe(second(n, 1, 10, 1))
	}
	q.Observe(second(5, 3, 20, 4))
	q.Observe(second(5, 2, 99, 99)) // late, and older
	q.Observe(second(5, 3, 20, 4))  // a copy
	shadow := second(6, 9, 1000, 1000)
	shadow.Environment = foreshadowv1.Environment_ENVIRONMENT_SHADOW
	q.Observe(shadow)
	q.Observe(&foreshadowv1.MetricsWindowed{Workload: "shop", Content: &foreshadowv1.MetricsWindowed_Usage{}})
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	for name, test := range map[string]struct {
		from, to             time.Time
		answered, violations uint64
	}{
		"all":                     {at(0), at(10), 110, 13},
		"the revised one":         {at(5), at(6), 20, 4},
		"none lies wholly within": {at(4.5), at(5.5), 0, 0},
		"half ones are left out":  {at(4.5), at(6.5), 20, 4},
		"before there was any":    {at(-10), at(0), 0, 0},
	} {
		if a, v := q.Count("shop", test.from, test.to); a != test.answered || v != test.violations {
			t.Errorf("%s: %d and %d, want %d and %d", name, a, v, test.answered, test.violations)
		}
	}
	if a, _ := q.Count("other", at(0), at(10)); a != 0 {
		t.Errorf("%d requests of another workload", a)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	q := New()
	for n := range maxWindows + 10 {
		q.Observe(second(n, 1, 10, 0))
	}
	if a, _ := q.Count("shop", noon, noon.Add(24*time.Hour)); a != 10*maxWindows {
		t.Errorf("%d requests are kept", a)
	}
	if a, _ := q.Count("shop", noon, noon.Add(10*time.Second)); a != 0 {
		t.Error("the oldest are kept")
	}
}
