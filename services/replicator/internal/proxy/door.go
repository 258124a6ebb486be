package proxy

import (
	"net"
	"sync"
	"time"
)

// lookAgain is how often Crowded is called.
const lookAgain = 100 * time.Millisecond

// Door is a listener that lets in only so many connections at once. One more waits in it, and the others in the system's queue: to
// let in what cannot be served would fail those who are inside.
type Door struct {
	net.Listener
	// Crowded, when set, is called now and then while a connection waits for a place. It may make one.
	Crowded func()

	places chan struct{}
	closed chan struct{}
	close  func() error
}

// NewDoor returns a door in front of a listener, to so many places.
func NewDoor(ln net.Listener, places int) *Door {
	d := &Door{Listener: ln, places: make(chan struct{}, places), closed: make(chan struct{})}
	d.close = sync.OnceValue(func() error { close(d.closed); return ln.Close() })
	return d
}

// Close implements net.Listener.
func (d *Door) Close() error { return d.close() }

// Accept implements net.Listener.
func (d *Door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !d.enter() {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return &guest{Conn: conn, leave: sync.OnceFunc(func() { <-d.places })}, nil
}

// enter waits for a place; false when the door was closed first.
func (d *Door) enter() bool {
	select {
	case d.places <- struct{}{}:
		return true
	default:
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		if d.Crowded != nil {
			d.Crowded()
		}
		select {
		case d.places <- struct{}{}:
			return true
		case <-d.closed:
			return false
		case <-look.C:
		}
	}
}

// guest is a connection that has a place.
type guest struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

// CloseWrite lets the last answer arrive.
func (g *guest) CloseWrite() error { return closeWrite(g.Conn) }

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
