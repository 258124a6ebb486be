package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second // bounds hangs; nothing waits for it when all is well

// bench is a relay that runs.
type bench struct {
	*Relay
	t       *testing.T
	address string
	stop    func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ln := listen(t)
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, address: ln.Addr().String()}
	b.Relay = New(Config{Listener: ln, Self: b.address, Log: slog.New(slog.DiscardHandler), Metrics: metrics})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	b.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(b.stop)
	return b
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// leader serves connections with a function each until the test ends.
func leader(t *testing.T, serve func(*net.TCPConn)) (address string) {
	t.Helper()
	ln := listen(t)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Wait()
	})
	return ln.Addr().String()
}

// echo sends back what it is sent.
func echo(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

// dial connects to the relay.
func (b *bench) dial() *net.TCPConn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// says sends a line and reads its echo.
func says(conn net.Conn, line string) error {
	if _, err := io.WriteString(conn, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != line {
		return errors.New("got " + string(got))
	}
	return nil
}

// closed waits until the other side has closed a connection.
func (b *bench) closed(conn net.Conn) {
	b.t.Helper()
	n, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		b.t.Errorf("read %d bytes, %v: want it closed", n, err)
	}
}

// await waits until that many connections had an outcome.
func (b *bench) await(outcome string, want float64) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for testutil.ToFloat64(b.cfg.Metrics.connections.WithLabelValues(outcome)) != want {
		if time.Now().After(deadline) {
			b.t.Fatalf("%v %s, want %v", testutil.ToFloat64(b.cfg.Metrics.connections.WithLabelValues(outcome)), outcome, want)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPassesOnByteForByte(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Follow(leader(t, echo))
	var all sync.WaitGroup
	for seed := range uint64(8) {
		conn := b.dial()
		all.Go(func() {
			sent := make([]byte, 300_000)
			random := rand.NewChaCha8([32]byte{byte(seed)})
			_, _ = random.Read(sent)
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.CloseWrite() // the end of what is sent is passed on, and answers still come
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("sent %d bytes, got %d back, %v", len(sent), len(got), err)
			}
		})
	}
	all.Wait()
	b.await(outcomePassed, 8)
}

func TestTheLeadersEndIsPassedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heard := make(chan string, 1)
	b.Follow(leader(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "bye")
		_ = conn.CloseWrite()
		rest, _ := io.ReadAll(conn)
		heard <- string(rest)
	}))
	conn := b.dial()
	if got, err := io.ReadAll(conn); string(got) != "bye" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(conn, "good night"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got := <-heard; got != "good night" {
		t.Errorf("the leader heard %q", got)
	}
}

func TestConnectionsThatCannotReachALeaderAreClosed(t *testing.T) {
	t.Parallel()
	gone := listen(t)
	_ = gone.Close()
	for name, c := range map[string]struct {
		to      func(b *bench) string
		outcome string
	}{
		"nobody is known":     {func(*bench) string { return "" }, outcomeNoLeader},
		"this process itself": {func(b *bench) string { return b.address }, outcomeNoLeader},
		"one that is gone":    {func(*bench) string { return gone.Addr().String() }, outcomeUnreachable},
		"no address":          {func(*bench) string { return "web" }, outcomeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.closed(b.dial())
			b.await(outcomeNoLeader, 1) // it begins so
			b.Follow(c.to(b))
			conn := b.dial()
			b.closed(conn)
			b.await(c.outcome, map[string]float64{outcomeNoLeader: 2, outcomeUnreachable: 1}[c.outcome])
		})
	}
}

func TestAChangeOfLeaderClosesWhatWasPassedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, second := leader(t, echo), leader(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "second") })
	b.Follow(first)
	old := b.dial()
	if err := says(old, "hello"); err != nil {
		t.Fatal(err)
	}
	b.Follow(first)
	if err := says(old, "again"); err != nil {
		t.Fatalf("the same leader once more: %v", err)
	}
	b.Follow(second)
	b.closed(old)
	if got, err := io.ReadAll(b.dial()); string(got) != "second" || err != nil {
		t.Errorf("got %q, %v of the second", got, err)
	}
	b.Follow("")
	b.closed(b.dial())
}

// A leader that was dialled while the leadership changed is not the one to pass a client on to any more.
func TestALeaderThatChangedWhileItWasDialled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heard := make(chan int, 1)
	on := &route{to: leader(t, func(conn *net.TCPConn) {
		got, _ := io.ReadAll(conn)
		heard <- len(got)
	})}
	ln := listen(t)
	defer func() { _ = ln.Close() }()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "for the leader"); err != nil {
		t.Fatal(err)
	}
	on.end()
	b.pass(t.Context(), on, served)
	b.closed(client)
	if n := <-heard; n != 0 {
		t.Errorf("the leader of before was sent %d bytes", n)
	}
	b.await(outcomeNoLeader, 1)
}

func TestTheEndClosesEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Follow(leader(t, echo))
	conns := []*net.TCPConn{b.dial(), b.dial()}
	for _, c := range conns {
		if err := says(c, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	b.stop() // returns when all are closed
	for _, c := range conns {
		b.closed(c)
	}
	if conn, err := net.Dial("tcp", b.address); err == nil {
		_ = conn.Close()
		t.Error("still listens")
	}
}

// faulty is a listener that cannot accept a few times, as when file descriptors run out.
type faulty struct {
	net.Listener
	faults int
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.faults > 0 {
		f.faults--
		return nil, errors.New("accept: too many open files")
	}
	return f.Listener.Accept()
}

func TestGoesOnWhenConnectionsCannotBeAcceptedForAWhile(t *testing.T) {
	t.Parallel()
	metrics, _ := NewMetrics(nil)
	ln := &faulty{Listener: listen(t), faults: 2}
	b := &bench{t: t, address: ln.Addr().String()}
	b.Relay = New(Config{Listener: ln, Log: slog.New(slog.DiscardHandler), Metrics: metrics})
	b.Follow(leader(t, echo))
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { b.Run(ctx) })
	if err := says(b.dial(), "hello"); err != nil {
		t.Error(err)
	}
	cancel()
	run.Wait()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			names = append(names, f.GetName()+" "+m.GetLabel()[0].GetValue())
		}
	}
	want := []string{
		"foreshadow_provisioner_relayed_connections_total no_leader", "foreshadow_provisioner_relayed_connections_total passed",
		"foreshadow_provisioner_relayed_connections_total unreachable",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
