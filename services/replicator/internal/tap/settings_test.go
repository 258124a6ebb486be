package tap_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

func config(p *topic, ratio float64) tap.Config {
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.SessionHeader = "shop", ratio, "k", "X-Session"
	return tap.Config{Workload: w, Publisher: p, Accumulator: observe.NewAccumulator(time.Now)}
}

func build(t testing.TB, cfg tap.Config) *tap.Tap {
	t.Helper()
	tapped, err := tap.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tapped
}

func reload(t testing.TB, tapped *tap.Tap, cfg tap.Config) {
	t.Helper()
	if err := tapped.Reload(cfg); err != nil {
		t.Fatal(err)
	}
}

func get(session, target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("X-Session", session)
	return r
}

// TestReloadHoldsFromTheNextRequestOn: a request that has begun is finished by what held when it began.
func TestReloadHoldsFromTheNextRequestOn(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	tapped := build(t, cfg)
	begun := tapped.Begin(get("a", "/s?q=blue"), time.Now())
	cfg.Workload.Tap.RedactQuery, cfg.Workload.Tap.SampleKey = nil, "other"
	reload(t, tapped, cfg)
	begun.End(tap.Result{BodyRead: true})
	tapped.Begin(get("a", "/s?q=blue"), time.Now()).End(tap.Result{BodyRead: true})
	cfg.Workload.Tap.SampleRatio = 0
	reload(t, tapped, cfg)
	tapped.Begin(get("a", "/s?q=blue"), time.Now()).End(tap.Result{BodyRead: true})

	if len(p.events) != 2 || tapped.Ledger().Dropped[tap.ReasonSampledOut] != 1 {
		t.Fatalf("%d copies, ledger %+v", len(p.events), tapped.Ledger())
	}
	before, after := p.events[0].Message, p.events[1].Message
	if before.GetTarget() == "/s?q=blue" || after.GetTarget() != "/s?q=blue" || before.GetSession() == after.GetSession() {
		t.Errorf("before: %v\nafter: %v", before, after)
	}
}

// TestWithoutAKeyPseudonymsCannotBeTriedOut: they last over a reload, and differ between processes.
func TestWithoutAKeyPseudonymsCannotBeTriedOut(t *testing.T) {
	t.Parallel()
	session := func(p *topic, tapped *tap.Tap) string {
		tapped.Begin(get("a", "/"), time.Now()).End(tap.Result{BodyRead: true})
		return p.events[len(p.events)-1].Message.GetSession()
	}
	p, q := &topic{}, &topic{}
	cfg, other := config(p, 1), config(q, 1)
	cfg.Workload.Tap.SampleKey, other.Workload.Tap.SampleKey = "", ""
	tapped := build(t, cfg)
	before := session(p, tapped)
	reload(t, tapped, cfg)
	if after := session(p, tapped); after != before {
		t.Error("a reload changed the pseudonyms")
	}
	if session(q, build(t, other)) == before {
		t.Error("two processes made up one key")
	}
}

// TestReloadKeepsTheBoundOnRoutes: routes that were told apart before a reload count against the bound after it.
func TestReloadKeepsTheBoundOnRoutes(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.MaxRoutes = 1
	tapped := build(t, cfg)
	tapped.Begin(get("a", "/one"), time.Now()).End(tap.Result{BodyRead: true})
	cfg.Workload.Tap.RedactQuery = nil
	reload(t, tapped, cfg)
	tapped.Begin(get("a", "/two"), time.Now()).End(tap.Result{BodyRead: true})
	cfg.Workload.Tap.MaxRoutes = 2
	reload(t, tapped, cfg)
	tapped.Begin(get("a", "/two"), time.Now()).End(tap.Result{BodyRead: true})
	want := []string{"GET /one", "other", "GET /two"}
	for i, e := range p.events {
		if got := e.Message.GetStratum().GetRoute(); got != want[i] {
			t.Errorf("copy %d has route %q, want %q", i, got, want[i])
		}
	}
}

// TestShedding: what is left of the sample is nested in it, and its weights still stand for all requests.
func TestShedding(t *testing.T) {
	t.Parallel()
	const sessions = 2000
	p := &topic{}
	cfg := config(p, 0.5)
	share := 1.0
	cfg.Share = func() float64 { return share }
	tapped := build(t, cfg)
	copied := map[float64]map[string]bool{}
	for _, share = range []float64{1, 0.5, 0} {
		from := len(p.events)
		for i := range sessions {
			tapped.Begin(get(fmt.Sprint(i), "/"), time.Now()).End(tap.Result{BodyRead: true})
		}
		copied[share] = map[string]bool{}
		for _, e := range p.events[from:] {
			copied[share][e.Message.GetSession()] = true
			if want := 1 / (0.5 * share); e.Message.GetWeight() != want {
				t.Fatalf("weight %v, want %v", e.Message.GetWeight(), want)
			}
		}
	}
	for session := range copied[0.5] {
		if !copied[1][session] {
			t.Errorf("session %s is in what is left of the sample, and was not in the sample", session)
		}
	}
	if n := len(copied[0.5]); n < sessions/4-150 || n > sessions/4+150 || len(copied[0]) != 0 {
		t.Errorf("%d of %d sessions at half of a half, %d at nothing", n, sessions, len(copied[0]))
	}
	l := tapped.Ledger()
	if shed := len(copied[1])*2 - len(copied[0.5]); !l.Balanced() || int(l.Dropped[tap.ReasonShed]) != shed {
		t.Errorf("ledger %+v, want %d shed", l, shed)
	}
}

// TestBlindIsNoResponse: a way in that sees no answers reports neither success nor failure nor latency.
func TestBlindIsNoResponse(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	tapped := build(t, cfg)
	tapped.Begin(get("a", "/blind"), time.Now()).End(tap.Result{Blind: true, BodyRead: true})
	tapped.Begin(get("a", "/untimed"), time.Now()).End(tap.Result{Status: 500, Failed: true, BodyRead: true, Latency: -1})
	tapped.Begin(get("a", "/gap"), time.Now()).End(tap.Result{Blind: true, BodyRead: true, Lost: "gap"})
	got := map[string][4]uint64{}
	for _, second := range cfg.Accumulator.TakeAll() {
		for st, c := range second.Strata {
			got[st.Route] = [4]uint64{c.Requests, c.Responses, c.Errors, c.Latency.Count()}
		}
	}
	if got["GET /blind"] != [4]uint64{1, 0, 0, 0} || got["GET /untimed"] != [4]uint64{1, 1, 1, 0} {
		t.Errorf("requests, responses, errors, latencies: %v", got)
	}
	if l := tapped.Ledger(); len(p.events) != 2 || p.events[1].Message.GetResponseLatencySeconds() != 0 || l.Dropped["gap"] != 1 || !l.Balanced() {
		t.Errorf("%d copies, ledger %+v", len(p.events), l)
	}
}
