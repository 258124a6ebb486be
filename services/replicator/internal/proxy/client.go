package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
	"github.com/foreshadow/foreshadow/services/replicator/internal/wire"
)

const (
	// clientBytes is the room for requests; one that does not fit is net/http's.
	clientBytes = 8 << 10
	// maxBlank is how many bytes of blank lines are skipped behind a form.
	maxBlank = 4
	// maxKeptOut bounds the room for what is written that a connection keeps between two requests: it may stay idle for long.
	maxKeptOut = 4 * clientBytes
	// patience is how long the rest of a request may take before it is net/http's to stream.
	patience = 10 * time.Millisecond
	// glance is how long an instance may take before the client is watched: who goes away ends the request.
	glance = 20 * time.Millisecond
	// linger is how long the client may take to close after the last answer.
	linger = 500 * time.Millisecond
)

// client is a connection to a client. But for what is said, its fields are its goroutine's.
type client struct {
	front  *Front
	conn   *guest
	remote string
	addr   string // remote without the port

	in       []byte
	r, w     int // what lies between was read, and not yet served
	blank    int // how many ends of lines may stand before the next request
	out      []byte
	request  wire.Request
	response wire.Response
	// seen is the request as the tap knows it.
	seen   http.Request
	values []string
	arrive time.Time
	held   *balance.Instance // that has the present request
	tapped *tap.Exchange     // what the tap keeps of it

	deadline time.Time     // of reading from conn
	begun    atomic.Bool   // a request came; read by others
	watching chan struct{} // closed when the client is watched no more
	gone     atomic.Bool   // the client went away while it was watched
	stopping atomic.Bool   // it is to be watched no more
	up       atomic.Pointer[balance.Conn]
}

func newClient(f *Front, conn *guest) *client {
	c := &client{front: f, conn: conn, remote: conn.RemoteAddr().String(), in: make([]byte, clientBytes)}
	c.addr = c.remote
	if host, _, err := net.SplitHostPort(c.remote); err == nil {
		c.addr = host
	}
	c.seen = http.Request{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, RemoteAddr: c.remote, Body: http.NoBody,
	}
	return c
}

// serve serves requests until the connection ends, or is net/http's.
func (c *client) serve() {
	defer c.front.forget(c)
	defer c.contain()
	for {
		c.skipBlank()
		switch wire.ReadRequest(c.in[c.r:c.w], &c.request) {
		case wire.More:
			if c.request.Size() > int64(len(c.in)) || !c.fill() {
				c.hand()
				return
			}
			if c.r == c.w {
				_ = c.conn.Close()
				return
			}
		case wire.Unusual:
			c.hand()
			return
		case wire.Plain:
			c.begun.Store(true)
			c.conn.work()
			if c.held = c.admit(); c.held == nil {
				c.hand()
				return
			}
			if !c.exchange() {
				c.end()
				return
			}
			c.r += int(c.request.Size())
			if c.blank = 0; c.request.Method == http.MethodPost {
				c.blank = maxBlank
			}
		}
	}
}

// skipBlank skips the line that some clients end their forms with, as net/http does on its way.
func (c *client) skipBlank() {
	for c.blank > 0 && c.r < c.w && (c.in[c.r] == '\r' || c.in[c.r] == '\n') {
		c.r++
		c.blank--
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// contain is deferred: like in net/http, a panic ends one connection, and not the process with all of them.
func (c *client) contain() {
	if recover() == nil {
		return
	}
	c.cut()
	c.unwatch()
	if c.held != nil {
		c.release()
	}
	c.front.say(fmt.Errorf("a connection met a fault: %s", debug.Stack()))
}

// fill reads more. Nothing more, and nothing there, is a connection that has ended; false is one whose request takes longer
// than waiting for it here is worth.
func (c *client) fill() bool {
	if c.r > 0 {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	empty := c.w == 0
	if c.w == len(c.in) {
		return empty
	}
	c.wait(empty)
	if empty {
		c.conn.rest()
	}
	n, err := c.conn.Read(c.in[c.w:])
	c.w += n
	return err == nil || empty
}

// wait sets the deadline of the next read.
func (c *client) wait(empty bool) {
	now := time.Now()
	want, slack := now.Add(patience), time.Duration(0)
	switch {
	case empty && !c.begun.Load():
		want = now.Add(c.front.limits.HeaderTimeout)
	case empty:
		// A deadline costs, and one that is a little early does no harm.
		want, slack = now.Add(c.front.limits.IdleTimeout), c.front.limits.IdleTimeout/8
	}
	if late := want.Sub(c.deadline); late > slack || late < 0 {
		c.until(want)
	}
	if empty && c.front.closing.Load() {
		c.hurry()
	}
}

func (c *client) until(deadline time.Time) {
	c.deadline = deadline
	_ = c.conn.SetReadDeadline(deadline)
}

// hurry ends a connection that does not bring its next request soon: the client may be about to. It may be called by others.
func (c *client) hurry() { _ = c.conn.SetReadDeadline(time.Now().Add(c.front.limits.LastCall)) }

// cut ends a connection whatever it does. It may be called by others.
func (c *client) cut() {
	_ = c.conn.Close()
	if up := c.up.Load(); up != nil {
		_ = up.Close()
	}
}

// end closes the connection behind the last answer. What the client may still send must not cut that off on its way.
func (c *client) end() {
	defer func() { _ = c.conn.Close() }()
	if !c.request.Closes || closeWrite(c.conn.Conn) != nil {
		return
	}
	c.until(time.Now().Add(linger))
	for n, left := 0, clientBytes; left > 0; left -= n {
		var err error
		if n, err = c.conn.Read(c.in); err != nil {
			return
		}
	}
}

// hand leaves the connection to net/http, with what was read.
func (c *client) hand() {
	c.until(time.Time{})
	c.front.hand(&resumed{Conn: c.conn, before: c.in[c.r:c.w]})
}

// admit makes the request known as the tap knows requests, and takes an instance for it; nil when it is net/http's.
func (c *client) admit() *balance.Instance {
	r := &c.request
	if r.Head > int64(c.front.limits.MaxHeaderBytes) {
		return nil
	}
	clear(c.seen.Header)
	c.values = c.values[:0]
	for _, f := range r.Fields {
		if f.Name == "Host" {
			continue
		}
		if before := c.seen.Header[f.Name]; before != nil {
			c.seen.Header[f.Name] = append(before, f.Value)
			continue
		}
		c.values = append(c.values, f.Value)
		n := len(c.values)
		c.seen.Header[f.Name] = c.values[n-1 : n : n]
	}
	if tap.IsLoop(c.seen.Header) {
		return nil
	}
	c.seen.Method, c.seen.URL, c.seen.Host, c.seen.RequestURI, c.seen.ContentLength = r.Method, r.URL, r.Host, r.Target, r.Body
	return c.front.handler.pool.TryAcquire(time.Now())
}

// read reads what an instance sends. When that takes long the client is watched meanwhile.
func (c *client) read(up *balance.Conn, p []byte) (int, error) {
	if c.watching == nil {
		_ = up.SetReadDeadline(time.Now().Add(glance))
		n, err := up.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.watch()
	}
	return up.Read(p)
}

// watch waits for the client to go away, until the exchange ends or its next request begins.
func (c *client) watch() {
	_ = c.up.Load().SetReadDeadline(time.Time{})
	c.until(time.Time{})
	c.watching = make(chan struct{})
	if c.w == len(c.in) {
		close(c.watching)
		return
	}
	go func() {
		defer close(c.watching)
		n, err := c.conn.Read(c.in[c.w : c.w+1])
		c.w += n
		if n == 0 && !c.stopping.Load() && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.gone.Store(true)
			if up := c.up.Load(); up != nil {
				_ = up.Close()
			}
		}
	}()
}

// unwatch returns when nobody else reads from the client.
func (c *client) unwatch() {
	if c.watching == nil {
		return
	}
	c.stopping.Store(true)
	c.until(time.Now())
	<-c.watching
	c.stopping.Store(false)
	c.watching = nil
}
