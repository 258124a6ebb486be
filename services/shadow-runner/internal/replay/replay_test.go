package replay_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shadow is one instance that answers after a time of its own, and notes what it was sent and what was observed.
type shadow struct {
	answer func() time.Duration
	reason string

	mu        sync.Mutex
	sent      []time.Time
	order     []string
	latencies []time.Duration
	maxLag    time.Duration
	flights   int
}

func (s *shadow) Pick() (platform.Instance, func(), string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != "" {
		return platform.Instance{}, nil, s.reason
	}
	s.flights++
	return platform.Instance{ID: "s1", Address: "127.0.0.1:1"}, s.land, ""
}

func (s *shadow) land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights--
}

func (s *shadow) Send(ctx context.Context, _ string, r *captured.Request) client.Outcome {
	s.mu.Lock()
	s.sent = append(s.sent, time.Now())
	s.order = append(s.order, r.Stratum.Route)
	s.mu.Unlock()
	_ = pace.Timer(ctx, time.Now().Add(s.answer())) // ending early is an answer too
	return client.Outcome{Done: time.Now(), Status: 200}
}

func (s *shadow) Sent(_ traffic.Stratum, _ uint64, lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxLag = max(s.maxLag, lag)
}

func (s *shadow) Answered(_ traffic.Stratum, _ uint64, latency time.Duration, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies = append(s.latencies, latency)
}

type bench struct {
	*shadow
	*replay.Replayer
	captured, extra *metric.Book
	stop            func() // ends the replayer and waits for it
}

func (b bench) offer(r *captured.Request) {
	b.captured.See(1)
	b.Offer(r)
}

// run gives the body a running replayer in a bubble of its own, and checks that the accounts balance in the end.
func run(t *testing.T, change func(*replay.Options), body func(t *testing.T, b bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench{shadow: &shadow{answer: func() time.Duration { return 10 * time.Millisecond }}, captured: metric.NewBook("c"), extra: metric.NewBook("x")}
		o := replay.Options{
			Allow: replay.Allow{Methods: []string{"GET"}}, Amplification: 1, MaxInFlight: 1000, MaxQueued: 10_000, MaxQueuedBytes: 64 << 20, Lag: time.Second, MaxLate: 250 * time.Millisecond,
			Instances: b.shadow, Sender: b.shadow, Observer: b.shadow, Captured: b.captured, Extra: b.extra, Wait: pace.Timer, Now: time.Now,
		}
		change(&o)
		b.Replayer = replay.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx, t.Context()) }()
		b.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v after a clean stop", err)
			}
		})
		body(t, b)
		b.stop()
		for _, book := range []*metric.Book{b.captured, b.extra} {
			if l := book.Ledger(); !l.Balanced() || l.Pending != 0 {
				t.Errorf("ledger %+v does not balance", l)
			}
		}
		passed := b.captured.Ledger().Passed + b.extra.Ledger().Passed
		if passed != uint64(len(b.sent)) || passed != uint64(len(b.latencies)) {
			t.Errorf("%d passed, %d sent, %d answered", passed, len(b.sent), len(b.latencies))
		}
		if b.flights != 0 {
			t.Errorf("%d flights have not ended", b.flights)
		}
	})
}

func get(t *testing.T, session string, after time.Duration) *captured.Request {
	t.Helper()
	return referencetest.Request(t, session, "/"+session, time.Now().Add(after))
}

// elapse lets time pass, and then everything that is due in it.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func asIs(*replay.Options) {}

func TestSpacingIsProductions(t *testing.T) {
	t.Parallel()
	run(t, asIs, func(t *testing.T, b bench) {
		begin := time.Now()
		gaps := []time.Duration{0, 3 * time.Millisecond, 100 * time.Millisecond, 101 * time.Millisecond, 900 * time.Millisecond}
		for _, i := range []int{3, 0, 4, 1, 2} { // partitions do not keep the order among sessions
			b.offer(get(t, fmt.Sprint(i), gaps[i]))
		}
		elapse(3 * time.Second)
		var got []time.Duration
		for _, at := range b.sent {
			got = append(got, at.Sub(begin)-time.Second)
		}
		if diff := cmp.Diff(gaps, got); diff != "" {
			t.Errorf("sent after the lag (-want +got):\n%s", diff)
		}
		if b.maxLag != 0 {
			t.Errorf("the generator lagged %v on a clock without delay", b.maxLag)
		}
	})
}

// An earlier request that comes while the replayer waits for a later one is not held up by it.
func TestALaterArrivalThatIsDueEarlier(t *testing.T) {
	t.Parallel()
	run(t, asIs, func(t *testing.T, b bench) {
		begin := time.Now()
		b.offer(get(t, "late", 900*time.Millisecond))
		elapse(500 * time.Millisecond)
		b.offer(get(t, "early", -400*time.Millisecond))
		elapse(2 * time.Second)
		if len(b.sent) != 2 || b.sent[0].Sub(begin) != 1100*time.Millisecond || b.order[0] != "GET /early" {
			t.Errorf("sent %v at %v", b.order, b.sent)
		}
	})
}

func TestAStalledShadowDoesNotSlowTheLoad(t *testing.T) {
	t.Parallel()
	run(t, asIs, func(t *testing.T, b bench) {
		resume := time.Now().Add(11 * time.Second)
		b.answer = func() time.Duration { return time.Until(resume) }
		begin := time.Now()
		const n = 500
		for i := range n {
			b.offer(get(t, "s", time.Duration(i)*10*time.Millisecond))
		}
		elapse(7 * time.Second)
		if len(b.sent) != n || b.sent[n-1].Sub(begin) != time.Second+(n-1)*10*time.Millisecond {
			t.Fatalf("%d sent while the shadow stalls, want all %d on time", len(b.sent), n)
		}
		elapse(5 * time.Second)
		// Counted from the due moment, each latency is the rest of the stall, however many came before.
		slices.Sort(b.latencies)
		if len(b.latencies) != n || b.latencies[0] != 10*time.Second-(n-1)*10*time.Millisecond || b.latencies[n-1] != 10*time.Second {
			t.Errorf("%d latencies from %v to %v", len(b.latencies), b.latencies[0], b.latencies[len(b.latencies)-1])
		}
	})
}

func TestEveryDropHasItsReason(t *testing.T) {
	t.Parallel()
	run(t, func(o *replay.Options) { o.MaxInFlight, o.MaxQueued = 3, 5 }, func(t *testing.T, b bench) {
		post := get(t, "s", 0)
		post.Method = "POST"
		b.offer(post)
		cut := get(t, "s", 0)
		cut.Complete = false
		b.offer(cut)
		b.offer(get(t, "s", -2*time.Second))
		b.answer = func() time.Duration { return 500 * time.Millisecond }
		for range 6 {
			b.offer(get(t, "s", 0))
		}
		elapse(3 * time.Second)
		b.mu.Lock()
		b.reason = "asleep"
		b.mu.Unlock()
		b.offer(get(t, "s", 0))
		elapse(2 * time.Second)
		b.offer(get(t, "s", 0))
		b.stop()
		b.offer(get(t, "s", 0))
		want := map[string]uint64{
			replay.StateChanging: 1, replay.BodyIncomplete: 1, replay.Late: 1, replay.QueueFull: 1, replay.Overload: 2, "asleep": 1, replay.Shutdown: 2,
		}
		l := b.captured.Ledger()
		if diff := cmp.Diff(want, l.Dropped); diff != "" || l.Passed != 3 || l.Seen != 12 {
			t.Errorf("ledger %+v (-want +got):\n%s", l, diff)
		}
	})
}

// After a stall of the runner itself what was due in it is dropped, not sent in a burst that production did not have.
func TestARequestThatCannotBeOnTimeIsDropped(t *testing.T) {
	t.Parallel()
	stalled := false
	slow := func(ctx context.Context, due time.Time) error {
		if !stalled {
			stalled = true
			due = due.Add(time.Second)
		}
		return pace.Timer(ctx, due)
	}
	run(t, func(o *replay.Options) { o.Wait = slow }, func(t *testing.T, b bench) {
		for i := range 20 {
			b.offer(get(t, "s", time.Duration(i)*100*time.Millisecond))
		}
		elapse(5 * time.Second)
		l := b.captured.Ledger()
		if l.Dropped[replay.Late] != 8 || l.Passed != 12 || b.maxLag != 200*time.Millisecond {
			t.Errorf("ledger %+v, lag %v; want what was over 250 ms late dropped", l, b.maxLag)
		}
	})
}

func TestAmplificationKeepsSessionsWhole(t *testing.T) {
	t.Parallel()
	for _, a := range []float64{0.3, 1, 2.5} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			t.Parallel()
			run(t, func(o *replay.Options) { o.Amplification, o.MaxInFlight = a, 10_000 }, func(t *testing.T, b bench) {
				const sessions, each = 1000, 3
				for s := range sessions {
					for i := range each {
						b.offer(get(t, fmt.Sprintf("s%d", s), time.Duration(i)*50*time.Millisecond))
					}
				}
				elapse(4 * time.Second)
				perSession := map[string]int{}
				for _, route := range b.order {
					perSession[route]++
				}
				for route, n := range perSession {
					if n%each != 0 {
						t.Fatalf("%s was sent %d times, not whole", route, n)
					}
				}
				if got := float64(len(b.sent)) / (sessions * each); math.Abs(got-a) > 0.05 {
					t.Errorf("sent %.3f times, want %v", got, a)
				}
				if x := b.extra.Ledger(); (a <= 1) != (x.Seen == 0) {
					t.Errorf("extra copies %+v at amplification %v", x, a)
				}
			})
		})
	}
}

// Whatever the backlog, what waits is bounded in number and in bytes, and the rest is accounted for.
func TestABacklogIsBounded(t *testing.T) {
	t.Parallel()
	size := referencetest.Request(t, "s", "/", time.Now()).Size()
	for name, change := range map[string]func(*replay.Options){
		"in number": func(o *replay.Options) { o.MaxQueued = 100 },
		"in bytes":  func(o *replay.Options) { o.MaxQueuedBytes = 100 * size },
	} {
		run(t, change, func(t *testing.T, b bench) {
			r := referencetest.Request(t, "s", "/", time.Now())
			for range 100_000 {
				b.offer(r)
			}
			if l := b.captured.Ledger(); l.Dropped[replay.QueueFull] != 100_000-100 || l.Pending != 100 {
				t.Errorf("%s: ledger %+v, want 100 to wait", name, l)
			}
			time.Sleep(2 * time.Second)
			for range 100 { // and there is room again once they are sent
				b.offer(referencetest.Request(t, "s", "/", time.Now()))
			}
			if l := b.captured.Ledger(); l.Dropped[replay.QueueFull] != 100_000-100 {
				t.Errorf("%s: ledger %+v, want room for 100 more", name, l)
			}
		})
	}
}

// request is one of a session of the given weight and method.
func request(t *testing.T, session, method, route string, weight float64) *captured.Request {
	t.Helper()
	r := referencetest.Request(t, session, "/cart/7", time.Now())
	r.Method, r.Stratum.Route, r.Weight = method, route, weight
	return r
}

func TestWeightsMakeProductionsVolume(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		weighted      bool
		amplification float64
		want          float64
	}{{false, 1, 1}, {true, 1, 10}, {true, 0.5, 5}, {true, 0.05, 0.5}, {false, 3, 3}} {
		run(t, func(o *replay.Options) {
			o.Weighted, o.Amplification, o.MaxInFlight = tc.weighted, tc.amplification, 100_000
		}, func(t *testing.T, b bench) {
			const sessions, each = 400, 2
			for i := range sessions {
				for range each {
					b.offer(request(t, fmt.Sprint("s", i), "GET", "GET /cart/{id}", 10))
				}
			}
			time.Sleep(3 * time.Second)
			got := float64(b.captured.Ledger().Passed+b.extra.Ledger().Passed) / (sessions * each)
			if math.Abs(got/tc.want-1) > 0.15 {
				t.Errorf("%+v: each request was sent %.2f times", tc, got)
			}
			if n := b.captured.Ledger().Passed + b.extra.Ledger().Passed; n%each != 0 {
				t.Errorf("%+v: %d requests are no whole sessions", tc, n)
			}
		})
	}
}

func TestStateIsChangedOnRoutesThatOptInOnly(t *testing.T) {
	t.Parallel()
	allow := replay.Allow{Methods: []string{"GET", "POST", "TRACE"}, StateChanging: []string{"POST /cart/{id}", "DELETE /cart/{id}"}}
	for name, tc := range map[string]struct{ method, route, want string }{
		"safe":                       {"GET", "GET /cart/{id}", ""},
		"opted in":                   {"POST", "POST /cart/{id}", ""},
		"another route":              {"POST", "POST /orders", replay.StateChanging},
		"a method that is not taken": {"DELETE", "DELETE /cart/{id}", replay.StateChanging},
		"neither safe nor opted in":  {"TRACE", "TRACE /cart/{id}", replay.StateChanging},
	} {
		if got := allow.Reason(request(t, "s", tc.method, tc.route, 1)); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
