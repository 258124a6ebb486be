package balance_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
)

// peer is an instance that accepts, and says nothing.
func peer(t *testing.T) (pool *balance.Pool, instance *balance.Instance, accepted chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan net.Conn, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	pool = balance.NewPool(balance.Config{ConnectTimeout: time.Second})
	pool.Update(platform.State{Instances: []platform.Instance{{ID: "a", Address: ln.Addr().String(), Phase: platform.Ready}}})
	if instance = pool.TryAcquire(time.Now()); instance == nil {
		t.Fatal("no instance is ready")
	}
	return pool, instance, accepted
}

func dial(t *testing.T, i *balance.Instance, accepted chan net.Conn) (*balance.Conn, net.Conn) {
	t.Helper()
	c, err := i.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, <-accepted
}

func TestIdleConnectionsAreUsedAgainNewestFirst(t *testing.T) {
	t.Parallel()
	pool, i, accepted := peer(t)
	if i.Idle() != nil {
		t.Error("an idle connection before there is one")
	}
	a, _ := dial(t, i, accepted)
	b, peerOfB := dial(t, i, accepted)
	if a.Reused || b.Reused {
		t.Error("a new connection is not new")
	}
	i.Keep(a)
	i.Keep(b)
	if got := i.Idle(); got != b || !got.Reused {
		t.Errorf("got %p, want the newest, %p", got, b)
	}
	i.Keep(b)
	// Nothing may be sent on one that was closed, or on which something was said unasked.
	_ = peerOfB.Close()
	if got := i.Idle(); got != a {
		t.Errorf("got %p, want the open one, %p", got, a)
	}
	i.Keep(a)
	pool.Release(i)
	pool.Close()
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a connection to an instance that has gone is still open")
	}
}

func TestUnaskedBytesEndAConnection(t *testing.T) {
	t.Parallel()
	pool, i, accepted := peer(t)
	c, other := dial(t, i, accepted)
	i.Keep(c)
	_, _ = io.WriteString(other, "HTTP/1.1 200 OK\r\n\r\n")
	if got := i.Idle(); got != nil {
		t.Error("it was given out")
	}
	_ = other.Close()
	pool.Release(i)
	pool.Close()
}

func TestConnectionsOfARetiredInstanceCloseWithItsLastRequest(t *testing.T) {
	t.Parallel()
	pool, i, accepted := peer(t)
	c, other := dial(t, i, accepted)
	pool.Close() // the instance is gone, and one request is under way
	i.Keep(c)
	pool.Release(i)
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the instance still has the connection: %v", err)
	}
	if pool.TryAcquire(time.Now()) != nil {
		t.Error("an instance that is gone was chosen")
	}
}

// slowToClose is a connection whose end takes time.
type slowToClose struct {
	net.Conn
	closing, release chan struct{}
}

func (c slowToClose) Close() error {
	c.closing <- struct{}{}
	<-c.release
	return c.Conn.Close()
}

// TestNobodyWaitsForConnectionsToClose: while those of an instance that goes are being closed, requests get another one.
func TestNobodyWaitsForConnectionsToClose(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]bool{"the report closes them": false, "the last request does": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, i, accepted := peer(t)
			c, _ := dial(t, i, accepted)
			slow := slowToClose{c.Conn, make(chan struct{}), make(chan struct{})}
			c.Conn = slow
			if !last {
				i.Keep(c)
			}
			next := state("next")
			done := make(chan struct{})
			go func() {
				defer close(done)
				pool.Update(next)
				if last {
					i.Keep(c)
					pool.Release(i)
				}
			}()
			<-slow.closing
			chosen := make(chan *balance.Instance, 1)
			go func() { chosen <- pool.TryAcquire(time.Now()) }()
			select {
			case got := <-chosen:
				if got == nil || got.ID != "next" {
					t.Errorf("chose %v", got)
				}
			case <-time.After(30 * time.Second):
				t.Error("a request waits for connections to close")
			}
			close(slow.release)
			<-done
		})
	}
}
