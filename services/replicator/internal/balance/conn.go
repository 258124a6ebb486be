package balance

import (
	"context"
	"net"
	"time"
)

const (
	// connBytes is the room for what an instance answers.
	connBytes = 8 << 10
	maxIdle   = 512
	idleFor   = 30 * time.Second
)

// Conn is a connection to an instance for one plain HTTP/1.1 exchange after another.
type Conn struct {
	net.Conn
	// Buffer is where answers are read to, and Filled what it holds of one.
	Buffer []byte
	Filled int
	// Reused: it has served before, so that the instance may have closed it meanwhile.
	Reused bool

	since time.Time
}

// Idle returns the connection that was used last, or nil when none is idle. It was open a moment ago, and nothing had been said
// on it: bytes that an instance sends beyond the length it gave would be the beginning of somebody else's answer.
func (i *Instance) Idle() *Conn {
	for {
		i.mu.Lock()
		n := len(i.idle)
		if n == 0 {
			i.mu.Unlock()
			return nil
		}
		c := i.idle[n-1]
		i.idle[n-1] = nil
		i.idle = i.idle[:n-1]
		i.mu.Unlock()
		if isOpen(c.Conn) {
			return c
		}
		_ = c.Close()
	}
}

// Dial makes a connection.
func (i *Instance) Dial(ctx context.Context) (*Conn, error) {
	conn, err := i.dialer.DialContext(ctx, "tcp", i.Address)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn, Buffer: make([]byte, connBytes)}, nil
}

// Keep takes a connection back, of which every answer was read to its end. It is to come before Pool.Release.
func (i *Instance) Keep(c *Conn) {
	c.Reused, c.since = true, time.Now()
	if !i.keep(c) {
		_ = c.Close()
	}
}

// keep reports whether there was room.
func (i *Instance) keep(c *Conn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.idle) >= maxIdle {
		return false
	}
	i.idle = append(i.idle, c)
	if i.sweep == nil {
		i.sweep = time.AfterFunc(idleFor, i.closeOld)
	}
	return true
}

// closeOld closes what was idle for long, and comes again while something is.
func (i *Instance) closeOld() { closeAll(i.takeOld()) }

func (i *Instance) takeOld() []*Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(i.idle) && now.Sub(i.idle[n].since) >= idleFor {
		n++
	}
	old := i.idle[:n]
	i.idle = append([]*Conn(nil), i.idle[n:]...)
	i.sweep = nil
	if len(i.idle) > 0 {
		i.sweep = time.AfterFunc(idleFor-now.Sub(i.idle[0].since), i.closeOld)
	}
	return old
}

func (i *Instance) takeAll() []*Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.idle
	i.idle = nil
	if i.sweep != nil {
		i.sweep.Stop()
		i.sweep = nil
	}
	return all
}

// closeAll is called with no lock held: there may be hundreds, and closing one is a call of the system.
func closeAll(conns []*Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
