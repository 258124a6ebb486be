package tap_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

func exchange(tapped *tap.Tap, r *http.Request) {
	tapped.Begin(r, time.Now()).End(tap.Result{Status: 200, BodyRead: true, Latency: time.Millisecond, RequestBytes: 100})
}

func TestRules(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	none, half := 0.0, 0.5
	cfg.Workload.Tap.Rules = []workload.Rule{
		{Route: "/health", SampleRatio: &none},
		{Route: "/orders/{id}", Methods: []string{"POST"}},
		{Route: "/half/**", SampleRatio: &half},
	}
	tapped := build(t, cfg)
	for _, c := range []struct {
		method, path string
		copied       bool
	}{
		{"GET", "/health", false}, {"GET", "/healthy", true}, {"POST", "/orders/1", true}, {"POST", "/orders/1/x", false},
		{"GET", "/orders/1", false}, // the rule is about POST alone
		{"POST", "/", false}, {"DELETE", "/orders/1", false}, {"GET", "/other", true},
	} {
		before := len(p.events)
		exchange(tapped, httptest.NewRequest(c.method, c.path, nil))
		if copied := len(p.events) > before; copied != c.copied {
			t.Errorf("%s %s: copied %v, want %v", c.method, c.path, copied, c.copied)
		}
	}
	from := len(p.events)
	for i := range 1000 {
		exchange(tapped, get(fmt.Sprint(i), "/half/of/it"))
	}
	if n := len(p.events) - from; n < 430 || n > 570 {
		t.Errorf("%d of 1000 copied at a half", n)
	}
	for _, e := range p.events[from:] {
		if e.Message.GetWeight() != 2 {
			t.Fatalf("weight %v, want 2", e.Message.GetWeight())
		}
	}
}

func TestCapDropsAreCounted(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.Sampling.MaxRequests = 10
	tapped := build(t, cfg)
	for range 100 {
		exchange(tapped, get("a", "/"))
	}
	l := tapped.Ledger()
	if n := len(p.events); n < 10 || n > 90 || int(l.Dropped[tap.ReasonCap]) != 100-n || !l.Balanced() {
		t.Errorf("%d copies, ledger %+v", n, l)
	}
}

func TestExperimentsPickOtherSessionsAndKeepPseudonyms(t *testing.T) {
	t.Parallel()
	copied := map[string]map[string]bool{}
	for _, experiment := range []string{"", "b"} {
		p := &topic{}
		cfg := config(p, 0.5)
		cfg.Workload.Tap.Experiment = experiment
		tapped := build(t, cfg)
		for i := range 400 {
			exchange(tapped, get(fmt.Sprint(i), "/"))
		}
		copied[experiment] = map[string]bool{}
		for _, e := range p.events {
			copied[experiment][e.Message.GetSession()] = true
		}
	}
	both := 0
	for session := range copied[""] {
		if copied["b"][session] {
			both++
		}
	}
	if both < 60 || both > 140 { // a quarter of 400
		t.Errorf("%d sessions in both experiments, of %d and %d", both, len(copied[""]), len(copied["b"]))
	}
}

func TestTraceIsASession(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.SessionTrace = true
	tapped := build(t, cfg)
	for _, trace := range []string{"a", "a", "b"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Traceparent", "00-"+strings.Repeat(trace, 32)+"-"+strings.Repeat("1", 16)+"-01")
		exchange(tapped, r)
	}
	exchange(tapped, httptest.NewRequest(http.MethodGet, "/", nil)) // no trace: the address
	var sessions []string
	for _, e := range p.events {
		sessions = append(sessions, e.Message.GetSession())
	}
	if sessions[0] != sessions[1] || sessions[0] == sessions[2] || sessions[3] == sessions[0] {
		t.Errorf("sessions %v", sessions)
	}
}

func TestFigureFollowsTheTraffic(t *testing.T) {
	t.Parallel()
	p := &topic{}
	tapped := build(t, config(p, 0.2))
	if _, known := tapped.Figure(); known {
		t.Error("a figure before any traffic")
	}
	for i := range 1000 {
		exchange(tapped, get(fmt.Sprint(i), []string{"/a", "/b"}[i%2]))
	}
	exchange(tapped, httptest.NewRequest(http.MethodPost, "/a", nil)) // never copied, so no part of what the sample shows
	f, known := tapped.Tick(time.Now().Add(time.Hour))
	if !known || f.Requests != 1000 || f.Mix <= 0 || f.Mix > 0.2 {
		t.Errorf("figure %+v, %v", f, known)
	}
}

func TestWrongDatabaseKeepsWhatHeld(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	tapped := build(t, cfg)
	cfg.Workload.Tap.SampleRatio, cfg.Workload.Tap.GeographyDatabase = 0, "/nowhere.mmdb"
	if err := tapped.Reload(cfg); err == nil || !strings.Contains(err.Error(), "tap.geography_database") {
		t.Errorf("reload: %v", err)
	}
	if exchange(tapped, get("a", "/")); len(p.events) != 1 {
		t.Error("half of a refused configuration holds")
	}
	if _, err := tap.New(cfg); err == nil {
		t.Error("a tap without its database")
	}
}

// BenchmarkTap is what one request costs between its arrival and the queue: left out by the sample, copied, and copied with
// a JSON body of 1 KiB.
func BenchmarkTap(b *testing.B) {
	body := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"id":4711,"name":"red shoes"},`, 33), ",") + `]}`
	for _, c := range []struct {
		name   string
		ratio  float64
		method string
	}{{"out", 1e-9, "GET"}, {"copied", 1, "GET"}, {"copied with a body", 1, "POST"}} {
		b.Run(c.name, func(b *testing.B) {
			p := &forgetful{}
			cfg := config(nil, c.ratio)
			cfg.Publisher = p
			cfg.KeepBodies = []string{tap.JSONType}
			cfg.Workload.Tap.Rules = []workload.Rule{{Route: "/**", Methods: []string{"GET", "POST"}}}
			tapped := build(b, cfg)
			r := httptest.NewRequest(c.method, "/shop/category/42/items/red-shoes-4711?page=2&sort=new", strings.NewReader(body))
			r.Header.Set("Content-Type", tap.JSONType)
			r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36")
			r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9")
			b.ReportAllocs()
			for b.Loop() {
				x := tapped.Begin(r, time.Now())
				if w := x.Body(); w != nil {
					_, _ = w.Write([]byte(body))
				}
				x.End(tap.Result{Status: 200, BodyRead: true, Latency: time.Millisecond, RequestBytes: 500})
			}
		})
	}
}

// forgetful takes every copy and keeps none.
type forgetful struct{ topic }

func (*forgetful) PublishEvent(kafka.Event[*foreshadowv1.CapturedRequest]) bool { return true }
