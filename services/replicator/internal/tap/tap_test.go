package tap_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// topic keeps what is published; every third event finds the queue full.
type topic struct {
	mu     sync.Mutex
	events []kafka.Event[*foreshadowv1.CapturedRequest]
	ledger kafka.Ledger
	fussy  bool
}

func (p *topic) PublishEvent(e kafka.Event[*foreshadowv1.CapturedRequest]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Offered++
	if p.fussy && p.ledger.Offered%3 == 0 {
		p.ledger.Dropped = map[string]uint64{kafka.ReasonQueueFull: p.ledger.Dropped[kafka.ReasonQueueFull] + 1}
		return false
	}
	p.ledger.Pending++
	p.events = append(p.events, e)
	return true
}

func (p *topic) Ledger() kafka.Ledger {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger
}

func newTap(t testing.TB, p *topic, trust bool) *tap.Tap {
	t.Helper()
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.SessionCookie, w.Tap.SessionHeader = "shop", 1, "k", "sid", "X-Session"
	return build(t, tap.Config{Workload: w, Publisher: p, Accumulator: observe.NewAccumulator(time.Now), TrustForwarded: trust})
}

func TestSession(t *testing.T) {
	t.Parallel()
	type client struct{ address, agent, cookie, header, forwarded string }
	base := client{address: "192.0.2.1:1", agent: "a"}
	for name, c := range map[string]struct {
		a, b  client
		trust bool
		same  bool
	}{
		"another port":                {base, client{address: "192.0.2.1:2", agent: "a"}, true, true},
		"another address":             {base, client{address: "192.0.2.2:1", agent: "a"}, true, false},
		"another agent":               {base, client{address: "192.0.2.1:1", agent: "b"}, true, false},
		"cookie over address":         {client{address: "192.0.2.1:1", cookie: "x"}, client{address: "192.0.2.2:1", cookie: "x"}, true, true},
		"cookie over header":          {client{cookie: "x", header: "1"}, client{cookie: "x", header: "2"}, true, true},
		"header over address":         {client{address: "192.0.2.1:1", header: "1"}, client{address: "192.0.2.2:1", header: "1"}, true, true},
		"header is not cookie":        {client{cookie: "x"}, client{header: "x"}, true, false},
		"forwarded is trusted":        {client{address: "192.0.2.1:1", forwarded: "198.51.100.1, 10.0.0.1"}, client{address: "192.0.2.1:1", forwarded: "198.51.100.2"}, true, false},
		"forwarded is not trusted":    {client{address: "192.0.2.1:1", forwarded: "198.51.100.1"}, client{address: "192.0.2.1:1", forwarded: "198.51.100.2"}, false, true},
		"forwarded by another server": {client{address: "192.0.2.1:1", forwarded: "198.51.100.1"}, client{address: "192.0.2.2:1", forwarded: "198.51.100.1, 10.0.0.2"}, true, true},
	} {
		p := &topic{}
		tapped := newTap(t, p, c.trust)
		for _, from := range []client{c.a, c.b} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = from.address
			r.Header.Set("User-Agent", from.agent)
			if from.cookie != "" {
				r.AddCookie(&http.Cookie{Name: "sid", Value: from.cookie})
			}
			if from.header != "" {
				r.Header.Set("X-Session", from.header)
			}
			if from.forwarded != "" {
				r.Header.Set("X-Forwarded-For", from.forwarded)
			}
			tapped.Begin(r, time.Now()).End(tap.Result{Status: 200, BodyRead: true})
		}
		if same := p.events[0].Message.GetSession() == p.events[1].Message.GetSession(); same != c.same {
			t.Errorf("%s: same session: %v, want %v", name, same, c.same)
		}
	}
}

// TestLedgerBalancesWhileItIsRead reads while items move from the tap's book to the publisher's.
func TestLedgerBalancesWhileItIsRead(t *testing.T) {
	t.Parallel()
	p := &topic{fussy: true}
	tapped := newTap(t, p, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 300 {
				method := http.MethodGet
				if i%5 == 0 {
					method = http.MethodPost
				}
				x := tapped.Begin(httptest.NewRequest(method, "/", nil), time.Now())
				x.End(tap.Result{Status: 200, BodyRead: i%7 != 0})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		if l := tapped.Ledger(); !l.Balanced() {
			t.Fatalf("unbalanced: %+v", l)
		}
		select {
		case <-done:
			l := tapped.Ledger()
			if l.Seen != 1200 || l.Dropped[tap.ReasonMethod] != 240 || l.Dropped[tap.ReasonBody] == 0 || l.Dropped[kafka.ReasonQueueFull] == 0 {
				t.Errorf("ledger %+v", l)
			}
			return
		default:
		}
	}
}

func TestTraceparentIsPassedOnOnlyWhenItIsOne(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p := &topic{}
	tapped := newTap(t, p, true)
	for _, v := range []string{good, good[:54] + "X", "secret", good + "0", ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Traceparent", v)
		tapped.Begin(r, time.Now()).End(tap.Result{BodyRead: true})
		want := ""
		if v == good {
			want = v
		}
		if got := p.events[len(p.events)-1].Traceparent; got != want {
			t.Errorf("%q was passed on as %q", v, got)
		}
	}
}
