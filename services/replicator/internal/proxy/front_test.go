package proxy

import (
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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
		f := NewFront(nil, ln, Limits{HeaderTimeout: time.Hour, IdleTimeout: time.Hour}, slog.New(log))
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
		if said := <-log.said; said != "no connection is accepted" {
			t.Errorf("said %q", said)
		}
		<-log.said // what came while that was being said
		_ = client.Close()
		cancel()
		<-done
	})
}
