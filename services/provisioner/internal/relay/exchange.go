package relay

import (
	"io"
	"net"
	"sync"
)

// exchange copies both ways. The end of one way is passed on, and the other goes on; a fault of either ends both.
func exchange(a, b net.Conn) {
	var other sync.WaitGroup
	other.Go(func() { forward(b, a) })
	forward(a, b)
	other.Wait()
}

// forward copies until from has no more, and says so to the other side.
func forward(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, can := to.(interface{ CloseWrite() error }); err == nil && can && half.CloseWrite() == nil {
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// crowd is connections that are closed together.
type crowd struct {
	mu    sync.Mutex
	ended bool
	open  map[net.Conn]bool
}

// add takes a connection in; false when all were closed already.
func (c *crowd) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[conn] = true
	return true
}

func (c *crowd) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// end closes all, and whatever comes later is not taken in.
func (c *crowd) end() {
	c.mu.Lock()
	open := c.open
	c.open, c.ended = nil, true
	c.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}
