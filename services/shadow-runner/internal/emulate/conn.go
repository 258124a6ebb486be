package emulate

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Dial connects by a function that does so at once, after the round trip that the handshake takes the client. To the service
// the connection then is as old as it is in production.
func (p Profile) Dial(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
	if err := wait(ctx.Done(), p.RTT); err != nil {
		return nil, context.Cause(ctx)
	}
	inner, err := dial(ctx)
	if err != nil || p == (Profile{}) {
		return inner, err
	}
	if tcp, is := inner.(*net.TCPConn); is {
		// A large buffer of this machine would take the answer at once, whatever the pace of the line.
		_ = tcp.SetReadBuffer(readBuffer)
	}
	return &conn{Conn: inner, profile: p, closed: make(chan struct{})}, nil
}

// readBuffer is about the window that a client begins with.
const readBuffer = 64 << 10

// chunk is how many bytes are paced at a time.
const chunk = 4 << 10

type conn struct {
	net.Conn
	profile Profile
	asked   atomic.Bool // something was sent since the last answer began
	once    sync.Once
	closed  chan struct{}
}

// Read returns what the line would have brought by now. The first bytes of an answer take a round trip: half of it to come
// here, and half until the service hears of that.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), chunk)])
	delay := pace(n, c.profile.DownBitsPerSecond)
	if n > 0 && c.asked.Swap(false) {
		delay += c.profile.RTT
	}
	if wait(c.closed, delay) != nil {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write sends at the pace of the line.
func (c *conn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(len(b), n+chunk)]
		if wait(c.closed, pace(len(part), c.profile.UpBitsPerSecond)) != nil {
			return n, net.ErrClosed
		}
		m, err := c.Conn.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	c.asked.Store(true)
	return n, nil
}

// Close ends a wait, too.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// wait is net.ErrClosed when it ended early.
func wait(closed <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-closed:
		return net.ErrClosed
	}
}
