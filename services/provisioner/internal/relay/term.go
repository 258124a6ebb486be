package relay

import (
	"net"
	"sync"
)

// Term is the listener of a leadership of this process. Connections come once Accept is called. Close ends that as it does for any
// listener; Cut ends the connections as well.
type Term struct {
	relay *Relay
	holds func() bool
	conns chan net.Conn
	begin sync.Once
	done  chan struct{}
	close sync.Once
	route *route // with the connections that were accepted
}

// Lead returns the listener of a leadership that begins. Nothing is answered from when it does not hold any more, even though nobody
// has noticed.
func (r *Relay) Lead(holds func() bool) *Term {
	t := &Term{relay: r, holds: holds, conns: make(chan net.Conn), done: make(chan struct{})}
	t.route = &route{term: t}
	return t
}

// Accept implements net.Listener.
func (t *Term) Accept() (net.Conn, error) {
	t.begin.Do(func() { t.relay.change(t.route) })
	select {
	case conn := <-t.conns:
		return conn, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (t *Term) Addr() net.Addr { return t.relay.cfg.Listener.Addr() }

// Close has no more connections come; those there are stay.
func (t *Term) Close() error {
	t.leave()
	t.close.Do(func() { close(t.done) })
	return nil
}

// Cut closes all connections that were accepted, and has none come: this process leads no more, and what it knows is outdated.
func (t *Term) Cut() {
	t.leave()
	t.route.end()
}

// leave has the relay give no more connections to the term.
func (t *Term) leave() {
	t.begin.Do(func() {}) // one that has ended does not begin
	t.relay.mu.Lock()
	defer t.relay.mu.Unlock()
	if t.relay.route == t.route {
		t.relay.route = &route{}
	}
}

// take hands a connection to who accepts.
func (t *Term) take(conn net.Conn) {
	c := &accepted{Conn: conn, route: t.route}
	if !t.route.add(conn) {
		_ = conn.Close()
		return
	}
	select {
	case t.conns <- c:
	case <-t.done:
		_ = c.Close()
	}
}

// accepted is a connection of a term.
type accepted struct {
	net.Conn
	route *route
}

// Write implements net.Conn.
func (a *accepted) Write(p []byte) (int, error) {
	if !a.route.term.holds() {
		_ = a.Close()
		return 0, net.ErrClosed
	}
	return a.Conn.Write(p)
}

// Close implements net.Conn.
func (a *accepted) Close() error {
	a.route.remove(a.Conn)
	return a.Conn.Close()
}
