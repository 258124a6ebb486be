package console_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foreshadow/foreshadow/services/console"
)

type snapshot struct {
	Traffic   []trafficPoint
	Usage     []struct{ Ready, Desired int }
	Sizing    []struct{ Instances int }
	Decisions []decision
	Status    statusEvent
}

type trafficPoint struct {
	Environment       string
	Start             float64
	Revision          uint64
	RequestsPerSecond float64  `json:"requests_per_second"`
	P95               *float64 `json:"p95_seconds"`
}

type decision struct {
	ID             string
	Count          int
	Previous       *int `json:"previous_instances"`
	Recommendation struct {
		Reasons   []struct{ Text string }
		Prospects *struct{}
	}
	Prospects *struct {
		Seen float64 `json:"seen_seconds"`
	}
}

type statusEvent struct {
	Backends []struct {
		Name, Address string
		Reachable     bool
		Since         time.Time
	}
	Problems map[string]struct{ Backend, Code, Message string }
}

func anything[T any](T) bool { return true }

// settled is a browser's stream from the moment on at which the console follows the windows and has read the past.
func (h *house) settled(t *testing.T) <-chan event {
	t.Helper()
	events := h.watch(t)
	await(t, events, "snapshot", anything[snapshot])
	at := time.Now().Truncate(time.Second).Add(-30 * time.Second)
	h.edit(func(s *script) { s.windows = append(s.windows, trafficWindow(production, at, 1, 33, 0.02)) })
	await(t, events, "traffic", func(p trafficPoint) bool { return p.RequestsPerSecond == 33 })
	return events
}

func TestEveryBrowserSeesEverythingOverOneSubscription(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	at := time.Now().Truncate(time.Second).Add(-10 * time.Second)
	first, second := h.watch(t), h.watch(t)
	for _, events := range []<-chan event{first, second} {
		await(t, events, "snapshot", anything[snapshot])
	}
	h.edit(func(s *script) {
		s.windows = append(s.windows, trafficWindow(production, at, 2, 120, 0.02), trafficWindow(production, at, 1, 60, 0.02),
			trafficWindow(shadow, at, 1, 0, 0), usageWindow(production, at, 1, 3, 4), trafficWindow(production, at.Add(time.Second), 1, 90, 0.02))
	})
	for _, events := range []<-chan event{first, second} {
		got := await(t, events, "traffic", anything[trafficPoint])
		if got.RequestsPerSecond != 120 || got.Revision != 2 || got.P95 == nil || *got.P95 < 0.02 || *got.P95 > 0.08 {
			t.Errorf("first window = %+v", got)
		}
		silent := await(t, events, "traffic", anything[trafficPoint])
		if silent.Environment != "shadow" || silent.P95 != nil {
			t.Errorf("after revision 2 came %+v, want the shadow's window: the older revision is no news, and no response is no latency", silent)
		}
		await(t, events, "traffic", func(p trafficPoint) bool { return p.RequestsPerSecond == 90 })
	}
	// Whoever comes later gets the same from the snapshot.
	got := await(t, h.watch(t), "snapshot", anything[snapshot])
	if len(got.Traffic) != 3 || got.Traffic[0].RequestsPerSecond != 120 || len(got.Usage) != 1 || got.Usage[0].Desired != 4 {
		t.Errorf("snapshot = %+v", got)
	}
	if n := read(h.script, func(s *script) int { return s.windowStreams }); n != 1 {
		t.Errorf("%d subscriptions upstream for 3 browsers, want 1", n)
	}
}

func TestDecisionsAreRunsOfEqualRecommendations(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	now := time.Now().Truncate(time.Second)
	h.edit(func(s *script) {
		for i, n := range []int32{4, 4, 4, 6} {
			s.recs = append(s.recs, recommendation(now.Add(time.Duration(i-10)*time.Second), n, 4, "enough_instances", "because"))
		}
	})
	events := h.settled(t)
	type recommended struct {
		Point    struct{ Instances int }
		Decision decision
	}
	h.edit(func(s *script) {
		s.recs = append(s.recs, recommendation(now.Add(-5*time.Second), 6, 4, "enough_instances", "again"),
			recommendation(now.Add(-4*time.Second), 5, 4, "scale_down", "less"))
	})
	got := await(t, events, "recommendation", func(r recommended) bool { return r.Point.Instances == 5 })
	if got.Decision.Previous == nil || *got.Decision.Previous != 6 || got.Decision.Recommendation.Reasons[0].Text != "less" {
		t.Errorf("decision = %+v", got.Decision)
	}
	h.edit(func(s *script) {
		same := recommendation(now.Add(-3*time.Second), 5, 4, "scale_down", "less")
		same.Prospects.SeenSeconds = 777
		s.recs = append(s.recs, same)
	})
	await(t, events, "recommendation", func(r recommended) bool {
		return r.Decision.Count == 2 && r.Decision.Prospects != nil && r.Decision.Prospects.Seen == 777
	})
	snap := await(t, h.watch(t), "snapshot", anything[snapshot])
	for i, d := range snap.Decisions {
		if newest := i == 0; newest != (d.Prospects != nil) || d.Recommendation.Prospects != nil {
			t.Errorf("decision %d has the prospects %v and those of its first %v, want the newest only", i, d.Prospects, d.Recommendation.Prospects)
		}
	}
	var counts []int
	for _, d := range snap.Decisions {
		counts = append(counts, d.Count)
	}
	if diff := cmp.Diff([]int{2, 2, 3}, counts); diff != "" {
		t.Errorf("lengths of the runs, newest first (-want +got):\n%s", diff)
	}
	if len(snap.Sizing) != 7 {
		t.Errorf("%d sizing points, want one per recommendation", len(snap.Sizing))
	}
}

func TestBackendAwayIsNamedAndComesBack(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	at := time.Now().Truncate(time.Second).Add(-10 * time.Second)
	events := h.settled(t)
	reachable := func(want bool) func(statusEvent) bool {
		return func(s statusEvent) bool {
			return len(s.Backends) == 4 && s.Backends[0].Reachable == want && (s.Problems["windows"].Code == "") == want
		}
	}
	h.history.stop()
	away := await(t, events, "status", reachable(false))
	if b, p := away.Backends[0], away.Problems["windows"]; b.Name != "metrics-aggregator" || b.Address != h.history.address || b.Since.IsZero() || p.Code != "UNAVAILABLE" {
		t.Errorf("away: %+v, %+v", b, p)
	}
	if snap := await(t, h.watch(t), "snapshot", anything[snapshot]); len(snap.Traffic) != 1 {
		t.Errorf("what was known is gone: %+v", snap.Traffic)
	}
	h.history.start()
	h.edit(func(s *script) {
		s.windows = append(s.windows, trafficWindow(production, at, 1, 70, 0.02))
	})
	await(t, events, "traffic", func(p trafficPoint) bool { return p.RequestsPerSecond == 70 })
	await(t, events, "status", reachable(true))
}

func TestForecastThatAbstainsSaysWhy(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	events := h.watch(t) // before it abstains: what is known at the start is in the snapshot, not in an event
	h.edit(func(s *script) { s.abstains = "less than two seasons" })
	got := await(t, events, "status", func(s statusEvent) bool { return s.Problems["forecast"].Code != "" })
	if p := got.Problems["forecast"]; p.Code != "FAILED_PRECONDITION" || p.Backend != "predictor" || p.Message != "less than two seasons" {
		t.Errorf("problem = %+v", p)
	}
}

func TestBrowsersAreBounded(t *testing.T) {
	t.Parallel()
	h := startHouse(t, func(c *console.Config) { c.MaxClients = 1 })
	await(t, h.watch(t), "snapshot", anything[snapshot])
	code, body, _ := h.do(t, call{method: "GET", path: "/api/v1/workloads/shop/events"})
	if code != 503 {
		t.Errorf("second browser = %d %s, want 503", code, body)
	}
}

// The names are API.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	events := h.watch(t)
	h.edit(func(s *script) { s.abstains = "x" })
	await(t, events, "status", func(s statusEvent) bool { return s.Problems["forecast"].Code != "" })
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{
		"foreshadow_console_backend_up", "foreshadow_console_clients", "foreshadow_console_slow_clients_total",
		"foreshadow_console_upstream_failures_total",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if problems, err := testutil.GatherAndLint(h.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
