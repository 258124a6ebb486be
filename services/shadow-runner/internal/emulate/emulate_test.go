package emulate_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/emulate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a network of this process, whose time can be virtual.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// shop is a service that answers with so many bytes after so long, and counts how long connections were open.
type shop struct {
	pipes
	server *http.Server

	mu      sync.Mutex
	opened  map[net.Conn]time.Time
	seconds float64
}

func open(service time.Duration, body int) *shop {
	s := &shop{pipes: pipes{make(chan net.Conn), make(chan struct{})}, opened: map[net.Conn]time.Time{}}
	s.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(service) // the service law itself
			_, _ = w.Write(make([]byte, body))
		}),
		ConnState: func(c net.Conn, state http.ConnState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch state {
			case http.StateNew:
				s.opened[c] = time.Now()
			case http.StateClosed:
				s.seconds += time.Since(s.opened[c]).Seconds()
			}
		},
	}
	return s
}

// A mix of three classes of clients, each with sessions of three requests and think time, holds the connections of the
// service for as long as their lines say.
func TestConnectionSecondsOfAMixOfClients(t *testing.T) {
	t.Parallel()
	profiles, err := emulate.Default()
	if err != nil {
		t.Fatal(err)
	}
	profiles.KeepAlive = 4 * time.Second // or it would hide what the lines do
	const service, body, sessions, think = 50 * time.Millisecond, 40_000, 12, 3 * time.Second
	run := func(t *testing.T, mix []string) (got, want float64) {
		synctest.Test(t, func(t *testing.T) {
			s := open(service, body)
			served := make(chan struct{})
			go func() { defer close(served); _ = s.server.Serve(s) }()
			var wg sync.WaitGroup
			for i := range sessions {
				profile := profiles.Of(traffic.Stratum{Network: mix[i%len(mix)]})
				// From the first request, which waits for the handshake, to the end of the last one's answer, and as long as the
				// client keeps it then.
				want += (2*think - profile.RTT + profile.Holds(100, body+100, service) + profiles.KeepAlive).Seconds()
				wg.Go(func() { session(t, s, profile, profiles.KeepAlive, think) })
			}
			wg.Wait()
			time.Sleep(2 * profiles.KeepAlive)
			_ = s.server.Close()
			<-served
			s.mu.Lock()
			defer s.mu.Unlock()
			got = s.seconds
		})
		return got, want
	}
	wired, wantWired := run(t, []string{"wired"})
	mixed, wantMixed := run(t, []string{"wired", "3g", "2g"})
	for name, v := range map[string][2]float64{"wired only": {wired, wantWired}, "three classes": {mixed, wantMixed}, "the difference": {mixed - wired, wantMixed - wantWired}} {
		t.Logf("%s: %.1f connection-seconds, predicted %.1f", name, v[0], v[1])
		if math.Abs(v[0]/v[1]-1) > 0.1 {
			t.Errorf("%s: %.1f connection-seconds, predicted %.1f", name, v[0], v[1])
		}
	}
}

// session sends three requests on a connection of its own, each so long after the one before began.
func session(t *testing.T, s *shop, p emulate.Profile, keepAlive, think time.Duration) {
	transport := &http.Transport{IdleConnTimeout: keepAlive, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.Dial(ctx, s.dial)
	}}
	client := &http.Client{Transport: transport}
	begin := time.Now()
	for i := range 3 {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * think)))
		resp, err := client.Get("http://shop/")
		if err != nil {
			t.Error(err)
			return
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 40_000 {
			t.Errorf("read %d, %v", n, err)
		}
		_ = resp.Body.Close()
	}
}

func TestTheBuiltInProfilesAreComplete(t *testing.T) {
	t.Parallel()
	p, err := emulate.Default()
	if err != nil {
		t.Fatal(err)
	}
	slow, fast := p.Of(traffic.Stratum{Network: "2g"}), p.Of(traffic.Stratum{Network: "wired"})
	if slow.Holds(1000, 50_000, 0) < 10*fast.Holds(1000, 50_000, 0) {
		t.Errorf("2g holds for %v, wired for %v", slow.Holds(1000, 50_000, 0), fast.Holds(1000, 50_000, 0))
	}
	if got := p.Of(traffic.Stratum{Network: "carrier-pigeon"}); got != (emulate.Profile{}) {
		t.Errorf("a client that nothing is known of is emulated as %+v", got)
	}
}

func TestProfilesAreData(t *testing.T) {
	t.Parallel()
	p, err := emulate.Parse("p.yaml", []byte("network: {unknown: {rtt: 5ms}}\ngeography: {NZ: 250ms}\nconnections: 2\nkeep_alive: 5s\n"))
	if got := p.Of(traffic.Stratum{Geography: "NZ"}).RTT; err != nil || got != 255*time.Millisecond {
		t.Errorf("round trip to New Zealand %v, %v", got, err)
	}
	for text, want := range map[string]string{
		"network: {a: {rtt: -1s}}\nconnections: 1\nkeep_alive: 1s\n": "p.yaml: network.a", "network: {}\n": "connections and keep_alive",
		"networks: {}\n": `p.yaml:1: unknown key "networks"; did you mean "network"?`, "geography: {NZ: 2h}\nconnections: 1\nkeep_alive: 1s\n": "geography.NZ",
	} {
		if _, err := emulate.Parse("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestClosingEndsAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &pipes{make(chan net.Conn, 1), make(chan struct{})}
		c, err := emulate.Profile{RTT: time.Second, UpBitsPerSecond: 8}.Dial(t.Context(), s.dial)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(2*time.Second, func() { _ = c.Close() })
		begin := time.Now()
		if n, err := c.Write(make([]byte, 100)); n != 0 || !errors.Is(err, net.ErrClosed) || time.Since(begin) != 2*time.Second {
			t.Errorf("wrote %d, %v after %v", n, err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (emulate.Profile{RTT: time.Minute}).Dial(ctx, s.dial); err == nil {
			t.Error("connected in no time")
		}
	})
}
