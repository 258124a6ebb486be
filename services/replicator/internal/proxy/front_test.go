package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
)

// troubled is a listener that fails some times, and then brings one connection.
type troubled struct {
	failures int
	conn     net.Conn
	closed   chan struct{}
}

func (l *troubled) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, syscall.EMFILE
	}
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *troubled) Close() error { close(l.closed); return nil }

func (l *troubled) Addr() net.Addr { return &net.TCPAddr{} }

// stuck is a log that nobody reads.
type stuck struct {
	slog.Handler
	said chan string
}

func (s stuck) Handle(_ context.Context, r slog.Record) error { s.said <- r.Message; return nil }

func (stuck) Enabled(context.Context, slog.Level) bool { return true }

// TestAcceptingDoesNotWaitForTheLog: while nobody reads why no connection was accepted, connections are accepted again.
func TestAcceptingDoesNotWaitForTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		ln, log := &troubled{failures: 5, conn: server, closed: make(chan struct{})}, stuck{said: make(chan string)}
		f := NewFront(nil, NewDoor(ln, 8), Limits{HeaderTimeout: time.Hour, IdleTimeout: time.Hour}, slog.New(log))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx, time.Second, func() {}) }()
		time.Sleep(time.Minute)
		f.mu.Lock()
		open := len(f.clients)
		f.mu.Unlock()
		if open != 1 {
			t.Errorf("%d connections are served, want 1", open)
		}
		if said := <-log.said; said != "connections are not served" {
			t.Errorf("said %q", said)
		}
		<-log.said // what came while that was being said
		_ = client.Close()
		cancel()
		<-done
	})
}

// queue is a listener to which connections come one by one.
type queue chan net.Conn

func (q queue) Accept() (net.Conn, error) {
	if conn, open := <-q; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (q queue) Close() error { close(q); return nil }

func (q queue) Addr() net.Addr { return &net.TCPAddr{} }

// TestTheLongestIdleMakesRoom: behind a door with no place left a client waits until somebody has been idle for a while, and takes
// the place of who was idle for longest.
func TestTheLongestIdleMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln, log := make(queue), stuck{said: make(chan string, 1)}
		f := NewFront(nil, NewDoor(ln, 8), Limits{HeaderTimeout: time.Hour, IdleTimeout: time.Hour}, slog.New(log))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx, time.Second, func() {}) }()
		var clients []net.Conn
		come := func() {
			client, server := net.Pipe()
			clients = append(clients, client)
			ln <- server
		}
		for range 8 {
			time.Sleep(10 * time.Millisecond)
			come()
		}
		time.Sleep(leastIdle - 200*time.Millisecond) // with no place left and nobody who waits
		began := time.Now()
		come()
		for i, c := range clients {
			_ = c.SetReadDeadline(began.Add(2 * leastIdle))
			_, err := c.Read(make([]byte, 1))
			if first := i == 0; errors.Is(err, io.EOF) != first {
				t.Errorf("client %d: %v", i, err)
			} else if waited := time.Since(began); first && (waited < 100*time.Millisecond || waited > 100*time.Millisecond+2*lookAgain) {
				t.Errorf("a client was let in after %s", waited)
			}
		}
		if said := <-log.said; said != "connections are not served" {
			t.Errorf("said %q", said)
		}
		cancel()
		<-done
		for _, c := range clients {
			_ = c.Close()
		}
	})
}

// TestAFaultEndsOneConnection: a panic of ours while a request is served costs its connection, and gives the instance back.
func TestAFaultEndsOneConnection(t *testing.T) {
	t.Parallel()
	instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer instance.Close()
	pool := balance.NewPool(balance.Config{ConnectTimeout: time.Minute})
	defer pool.Close()
	a := platform.Instance{ID: "a", Address: instance.Listener.Addr().String(), Phase: platform.Ready}
	pool.Update(platform.State{Instances: []platform.Instance{a}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := stuck{said: make(chan string, 2)}
	// Without a tap every request meets a fault, right after it was sent to the instance.
	f := NewFront(New(t.Context(), Config{}, pool, nil, nil), NewDoor(ln, 8), Limits{HeaderTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 10}, slog.New(log))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, time.Minute, func() {}) }()
	for range 2 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := bufio.NewReader(conn).ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the connection", err)
		}
		_ = conn.Close()
		if said := <-log.said; said != "connections are not served" {
			t.Errorf("said %q", said)
		}
	}
	cancel()
	<-done
	b := platform.Instance{ID: "b", Address: "b:1", Phase: platform.Ready}
	pool.Update(platform.State{Instances: []platform.Instance{a, b}})
	if one, other := pool.TryAcquire(time.Now()), pool.TryAcquire(time.Now()); one == other {
		t.Errorf("requests are still held against an instance: %s is chosen twice", one.ID)
	}
}
