package relay

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheTermOfALeader(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Follow(leader(t, echo))
	passed := b.dial()
	if err := says(passed, "to the leader before"); err != nil {
		t.Fatal(err)
	}
	b.Follow("") // as is seen before one comes to lead
	b.closed(passed)
	var over atomic.Bool
	term := b.Lead(func() bool { return !over.Load() })
	b.closed(b.dial()) // it does not accept yet
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := term.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	client, late := b.connect(accepted), b.connect(accepted)
	if term.Addr().String() != b.address {
		t.Errorf("listens on %s", term.Addr())
	}
	_ = term.Close()
	b.closed(b.dial())
	if _, open := <-accepted; open {
		t.Error("accepted after it was closed")
	}
	// It drains: what was accepted goes on, until somebody else leads.
	go func() { _, _ = io.Copy(client.served, client.served) }()
	if err := says(client, "still here"); err != nil {
		t.Errorf("after Close: %v", err)
	}
	over.Store(true) // which nobody has noticed
	if _, err := io.WriteString(late.served, "outdated"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("answered by one that leads no more: %v", err)
	}
	b.closed(late)
	term.Cut()
	b.closed(client)
	if _, err := client.served.Read(make([]byte, 1)); err == nil {
		t.Error("the server reads on after Cut")
	}
}

// both are the ends of a connection to a term.
type both struct {
	*net.TCPConn
	served net.Conn
}

// connect dials until the term accepts, which it does from its first Accept on.
func (b *bench) connect(accepted <-chan net.Conn) both {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn := b.dial()
		refused := make(chan struct{})
		go func() {
			defer close(refused)
			_, _ = conn.Read(make([]byte, 1))
		}()
		select {
		case served := <-accepted:
			_ = conn.SetReadDeadline(time.Now()) // ends the look at whether it is closed
			<-refused
			_ = conn.SetDeadline(time.Now().Add(patience))
			return both{conn, served}
		case <-refused:
		}
	}
	b.t.Fatal("nothing was accepted")
	return both{}
}

func TestATermThatEndsBeforeItBegins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	term := b.Lead(func() bool { return true })
	term.Cut()
	_ = term.Close()
	if _, err := term.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepts: %v", err)
	}
	to := leader(t, echo)
	b.Follow(to)
	term.Cut() // which changes nothing of the next
	if err := says(b.dial(), "to the next leader"); err != nil {
		t.Error(err)
	}
}
