package proxy

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookAgain is how often idle connections are looked for while one waits for a place.
	lookAgain = 100 * time.Millisecond
	// leastIdle is how long a connection must have been idle to make room, so that those in use do not take turns in losing theirs.
	leastIdle = time.Second
	// lingerIdle and lingerMost are how long a client may be silent, and may go on with its upload, when it was answered before the end
	// of it: nginx's lingering_timeout and lingering_time.
	lingerIdle = 5 * time.Second
	lingerMost = 30 * time.Second
	// dismissed is in place of the time since when a connection was idle that has to go.
	dismissed = -1
)

// Door is a listener that lets in only so many connections at once. One more waits in it, and the others in the system's queue: to
// let in what cannot be served would fail those who are inside. While one waits, those who have asked for nothing for longest lose
// their places, as with nginx. Whoever serves a connection says when it is idle: the short way itself, net/http by Note.
type Door struct {
	net.Listener
	// Crowded, when set, is told at most once a minute that a connection has to wait.
	Crowded func(error)

	places chan struct{}
	closed chan struct{}
	close  func() error
	opened time.Time
	said   time.Time // accept's own

	mu     sync.Mutex
	guests map[*guest]struct{}
}

var errCrowded = errors.New("there are as many as file descriptors allow (ulimit -n); new ones take the places of those idle longest")

// NewDoor returns a door in front of a listener, to so many places.
func NewDoor(ln net.Listener, places int) *Door {
	d := &Door{
		Listener: ln, places: make(chan struct{}, places), closed: make(chan struct{}), opened: time.Now(), guests: map[*guest]struct{}{},
	}
	d.close = sync.OnceValue(func() error {
		close(d.closed)
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) { // as it is when it was shut
			return err
		}
		return nil
	})
	return d
}

// Close implements net.Listener.
func (d *Door) Close() error { return d.close() }

// Shut lets nobody in any more; an http.Server, which would close what is idle, need not know yet.
func (d *Door) Shut() { _ = d.Listener.Close() }

// Accept implements net.Listener. It returns when the door is closed.
func (d *Door) Accept() (net.Conn, error) {
	conn, err := d.accept()
	if errors.Is(err, net.ErrClosed) {
		<-d.closed
	}
	return conn, err
}

func (d *Door) accept() (*guest, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !d.enter() {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	g := &guest{Conn: conn, door: d}
	g.leave = sync.OnceFunc(func() { d.forget(g); <-d.places })
	g.rest()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guests[g] = struct{}{}
	return g, nil
}

// Note is the ConnState of an http.Server.
func (d *Door) Note(conn net.Conn, state http.ConnState) {
	if r, ok := conn.(*resumed); ok {
		conn = r.Conn
	}
	switch g := conn.(*guest); state {
	case http.StateIdle:
		g.rest()
	case http.StateActive:
		g.work()
	case http.StateHijacked:
		g.hijacked.Store(true)
	}
}

// enter waits for a place; false when the door was closed first.
func (d *Door) enter() bool {
	select {
	case d.places <- struct{}{}:
		return true
	default:
	}
	if now := time.Now(); d.Crowded != nil && now.Sub(d.said) > time.Minute {
		d.said = now
		d.Crowded(errCrowded)
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		d.makeRoom()
		select {
		case d.places <- struct{}{}:
			return true
		case <-d.closed:
			return false
		case <-look.C:
		}
	}
}

// Empty returns when everybody has left, or after the given time.
func (d *Door) Empty(most time.Duration) {
	look := time.NewTicker(most/100 + 1)
	defer look.Stop()
	for until := time.Now().Add(most); len(d.places) > 0 && time.Now().Before(until); {
		<-look.C
	}
}

func (d *Door) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// makeRoom closes some of those that were idle for longest, at once, for to look for them takes a while.
func (d *Door) makeRoom() {
	type idle struct {
		guest *guest
		since int64
	}
	latest := d.now() - int64(leastIdle)
	var all []idle
	d.mu.Lock()
	for g := range d.guests {
		if since := g.idle.Load(); since > 0 && since <= latest {
			all = append(all, idle{g, since})
		}
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b idle) int { return cmp.Compare(a.since, b.since) })
	for _, i := range all[:(len(all)+7)/8] {
		if i.guest.idle.CompareAndSwap(i.since, dismissed) {
			_ = i.guest.Close()
		}
	}
}

func (d *Door) forget(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.guests, g)
}

// now is the time since the door was opened, whatever happens to the clock; above 0.
func (d *Door) now() int64 { return int64(time.Since(d.opened)) + 1 }

// guest is a connection that has a place.
type guest struct {
	net.Conn
	door  *Door
	leave func()
	// idle is the door's time when the last byte came, or the last answer went; 0 while a request is under way.
	idle atomic.Int64
	// hijacked: it is no HTTP any more. lingers: the last answer went, the client may still be sending.
	hijacked, lingers atomic.Bool
}

// rest says that no request is under way.
func (g *guest) rest() { g.set(g.door.now()) }

// work says that one is.
func (g *guest) work() { g.set(0) }

// set leaves those alone who have to go.
func (g *guest) set(idle int64) {
	for before := g.idle.Load(); before != dismissed && !g.idle.CompareAndSwap(before, idle); before = g.idle.Load() {
	}
}

// Read implements io.Reader. A request that comes at the moment at which a connection has to go is not begun with.
func (g *guest) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if since := g.idle.Load(); n > 0 && since > 0 {
		g.idle.CompareAndSwap(since, g.door.now())
	}
	if g.idle.Load() == dismissed {
		return 0, net.ErrClosed
	}
	return n, err
}

// Close implements net.Conn.
func (g *guest) Close() error {
	defer g.leave()
	if g.lingers.CompareAndSwap(true, false) {
		g.linger()
	}
	return g.Conn.Close()
}

// linger hears a client out that was answered before the end of its upload. A connection that is closed while something comes is reset,
// which takes the answer from a client that reads it when it has sent all.
func (g *guest) linger() {
	g.rest()
	most, into := time.Now().Add(lingerMost), make([]byte, 8<<10)
	for !g.door.isClosed() && time.Now().Before(most) {
		_ = g.SetReadDeadline(time.Now().Add(lingerIdle))
		if _, err := g.Read(into); err != nil {
			return
		}
	}
}

// CloseWrite lets the last answer arrive. net/http calls it when there may be more of the last request to come.
func (g *guest) CloseWrite() error {
	g.lingers.Store(!g.hijacked.Load())
	return closeWrite(g.Conn)
}

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
