package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	goodToken = workload.Secret("good-0123456789abcdef")
	evesToken = workload.Secret("eve-0123456789abcdef")

	getForecast = "/foreshadow.v1.ForecastService/GetForecast"
	watchRec    = "/foreshadow.v1.RecommendationService/WatchRecommendations"
)

// siege is a server with tight limits that eve attacks, and a good client that must never notice.
type siege struct {
	address  string
	registry *prometheus.Registry
}

func besiege(t *testing.T) *siege {
	t.Helper()
	cfg := rpc.Default()
	cfg.Callers = []rpc.Caller{{Name: "good", Token: goodToken}, {Name: "eve", Token: evesToken}}
	cfg.Limits.InFlight, cfg.Limits.StreamsPerConnection, cfg.Limits.ConnectionsPerAddress = 20, 40, 50
	cfg.Limits.Stall, cfg.Limits.Deadline = time.Second, 2*time.Second
	s := &siege{registry: prometheus.NewRegistry()}
	e, err := rpc.New(cfg, slog.New(slog.DiscardHandler), s.registry)
	if err != nil {
		t.Fatal(err)
	}
	s.address = start(t, e)
	s.keepGood(t)
	return s
}

// keepGood calls for as long as the test runs; every call must succeed.
func (s *siege) keepGood(t *testing.T) {
	t.Helper()
	client := foreshadowv1.NewForecastServiceClient(dial(t, edge(t, func(c *rpc.Config) { c.Token = goodToken }), s.address))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	served := 0
	if _, err := client.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: "shop"}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; served++ {
			_, err := client.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: "shop"})
			if ctx.Err() == nil && err != nil {
				t.Errorf("the good client's call %d: %v", served, err)
				return
			}
			time.Sleep(2 * time.Millisecond) // well below its rate
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if served == 0 {
			t.Error("the good client was not served")
		}
	})
}

func (s *siege) refused(t *testing.T, reason string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// eve is a client of the usual kind with bad intentions.
func (s *siege) eve(t *testing.T) *rpc.Edge {
	return edge(t, func(c *rpc.Config) { c.Token = evesToken })
}

func TestOversizedAndEndlessCalls(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	for name, c := range map[string]struct {
		method string
		attack func(w *wire, stream uint32)
		want   codes.Code
	}{
		"declares 2 GiB": {getForecast, func(w *wire, id uint32) { w.data(id, []byte{0, 0x7f, 0xff, 0xff, 0xff}, false) }, codes.ResourceExhausted},
		"declares one byte too many": {getForecast, func(w *wire, id uint32) {
			w.data(id, []byte{0, 0, 4, 0, 1}, false)
		}, codes.ResourceExhausted},
		"trickles for ever": {getForecast, func(w *wire, id uint32) {
			w.data(id, []byte{0, 0, 3, 0, 0}, false)
			w.trickle(id)
		}, codes.DeadlineExceeded},
		"never sends a body":      {getForecast, func(*wire, uint32) {}, codes.DeadlineExceeded},
		"never asks for a stream": {watchRec, func(*wire, uint32) {}, codes.DeadlineExceeded},
		"ends in the middle":      {getForecast, func(w *wire, id uint32) { w.data(id, []byte{0, 0, 0, 0, 9, 1}, true) }, codes.Internal},
		"no protobuf":             {getForecast, func(w *wire, id uint32) { w.data(id, []byte{0, 0, 0, 0, 2, 0xff, 0xff}, true) }, codes.Internal},
		"compressed by nothing":   {getForecast, func(w *wire, id uint32) { w.data(id, []byte{1, 0, 0, 0, 1, 0}, true) }, codes.Internal},
		"flags that are none":     {getForecast, func(w *wire, id uint32) { w.data(id, []byte{7, 0, 0, 0, 0}, true) }, codes.Internal},
		"no such method":          {"/foreshadow.v1.ForecastService/Drop", func(w *wire, id uint32) { w.data(id, make([]byte, 5), true) }, codes.Unimplemented},
		"no method at all":        {"/", func(w *wire, id uint32) { w.data(id, make([]byte, 5), true) }, codes.Unimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.connect(t)
			id := w.open(c.method, evesToken, "")
			c.attack(w, id)
			if got := w.status(id); got != c.want {
				t.Errorf("ends with %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhoIsNobodyIsRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	for name, c := range map[string]struct {
		token   workload.Secret
		timeout string
	}{
		"no token":                  {"", "1S"},
		"wrong token":               {"mallory-0123456789", "1S"},
		"no timeout":                {"mallory-0123456789", ""},
		"a timeout of eleven years": {"mallory-0123456789", "99999H"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.connect(t)
			id := w.open(getForecast, c.token, c.timeout)
			if c.timeout == "99999H" {
				w.data(id, make([]byte, 5), true) // this one is refused when its body is there; see admit
			}
			if got := w.status(id); got != codes.Unauthenticated {
				t.Errorf("ends with %v", got)
			}
		})
	}
}

func TestConnectionsThatSayNothing(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	for name, first := range map[string]string{
		"nothing": "", "half a preface": http2.ClientPreface[:10], "a browser": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"noise": strings.Repeat("\xff\x00", 100), "a preface and no settings": http2.ClientPreface,
		"a frame that never ends": http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\xff\xff\xff\x01\x00\x00\x00\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := s.dial(t)
			if _, err := io.WriteString(conn, first); err != nil {
				t.Fatal(err)
			}
			// The server hangs up; a deadline of the test's own would be another error.
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
				t.Errorf("the server still waits: %v", err)
			}
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	closed := make(chan struct{}, 100)
	for range 100 {
		conn := s.dial(t)
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			closed <- struct{}{}
		}()
	}
	for range 51 { // one place is the good client's
		<-closed
	}
	if n := s.refused(t, "connections"); n < 51 {
		t.Errorf("%v connections were refused, want 51", n)
	}
	for range 49 { // and the others say nothing for too long
		<-closed
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	client := foreshadowv1.NewRecommendationServiceClient(dial(t, s.eve(t), s.address))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var refusal error
	for i := range 21 {
		stream, err := client.WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{Workload: "shop"})
		if err == nil {
			_, err = stream.Recv()
		}
		if i < 20 && err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		refusal = err
	}
	st := status.Convert(refusal)
	if st.Code() != codes.ResourceExhausted || quotaOf(st) != "in_flight:eve" {
		t.Errorf("stream 21: %v %v", st, st.Details())
	}
	cancel()
	again := foreshadowv1.NewForecastServiceClient(dial(t, s.eve(t), s.address))
	eventually(t, "eve is served again", func() bool { return forecast(t, again) == nil })

	// On one connection there are fewer, whoever asks.
	w := s.connect(t)
	for range 41 {
		w.open(watchRec, evesToken, "")
	}
	eventually(t, "a stream is refused", func() bool { return w.reset() == http2.ErrCodeRefusedStream || s.refused(t, "too_many_calls") > 1 })
}

func quotaOf(st *status.Status) string {
	for _, d := range st.Details() {
		if q, ok := d.(*errdetails.QuotaFailure); ok {
			return q.GetViolations()[0].GetSubject()
		}
	}
	return ""
}

func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	cfg := func(c *rpc.Config) { c.Limits.CallsPerSecond, c.Limits.Burst = 0.001, 5 }
	client := foreshadowv1.NewForecastServiceClient(dial(t, nil, start(t, edge(t, cfg))))
	for i := range 6 {
		err := forecast(t, client)
		if i < 5 && err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if st := status.Convert(err); i == 5 && (st.Code() != codes.ResourceExhausted || quotaOf(st) != "calls_per_second:127.0.0.1") {
			t.Errorf("call %d: %v %v", i, st, st.Details())
		}
	}
}

func TestAReaderWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	w := s.connect(t)
	id := w.open(watchRec, evesToken, "")
	w.data(id, append([]byte{0, 0, 0, 0, 9, 0x0a, 7}, "endless"...), true)
	// The windows of stream and connection fill up, and are not given back.
	eventually(t, "the stream is ended", func() bool { return s.refused(t, "stalled") == 1 })
	w.readAll()
}

func TestResetsAndPingsWithoutEnd(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	w := s.connect(t)
	for range 2000 {
		if id := w.open(getForecast, evesToken, ""); !w.tryReset(id) {
			break
		}
	}
	again := foreshadowv1.NewForecastServiceClient(dial(t, s.eve(t), s.address))
	eventually(t, "nothing of it is left", func() bool { return forecast(t, again) == nil })

	p := s.connect(t)
	for range 100 {
		if p.framer.WritePing(false, [8]byte{}) != nil {
			break
		}
	}
	p.readAll() // the server hangs up
}

func TestHeadersWithoutEnd(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	w := s.connect(t)
	w.open(getForecast, workload.Secret(strings.Repeat("x", 64<<10)), "")
	for range 64 {
		if w.framer.WriteContinuation(1, false, make([]byte, 16<<10)) != nil {
			break
		}
	}
	w.readAll()
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (s *siege) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect opens an HTTP/2 connection of which every frame can be chosen.
func (s *siege) connect(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t, conn: s.dial(t), next: 1, ended: map[uint32]codes.Code{}, heard: make(chan struct{})}
	w.framer = http2.NewFramer(w.conn, w.conn)
	if _, err := io.WriteString(w.conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := w.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); w.listen() }()
	t.Cleanup(func() { _ = w.conn.Close(); <-done })
	return w
}

// wire is one connection, seen from the attacker.
type wire struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	next   uint32

	mu     sync.Mutex
	ended  map[uint32]codes.Code
	broken http2.ErrCode
	heard  chan struct{} // closed when nothing more comes
}

func (w *wire) String() string { return fmt.Sprintf("connection from %v", w.conn.LocalAddr()) }
