package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what clients may do; they are those of the http.Server behind.
type Limits struct {
	// HeaderTimeout for the first request of a connection, IdleTimeout between two.
	HeaderTimeout time.Duration
	IdleTimeout   time.Duration
	// MaxHeaderBytes of a request head.
	MaxHeaderBytes int
	// LastCall is how long a connection may bring its next request when the end was asked for.
	LastCall time.Duration
}

// Front is the short way. It serves plain HTTP/1.1 requests by itself, one goroutine per connection and no copy of a head
// more than it takes. A connection on which anything else appears goes to net/http for
// good, with all that was read of it: it is handed over by Accept, for Front is the listener of the http.Server behind.
//
//	plain          what package wire calls plain, with a body, if any, that came with the head and fits the buffer
//	anything else  uploads, chunked bodies, upgrades, HTTP/2, HEAD, expectations, marks of the shadow, what is malformed;
//	               and all requests while no instance is ready
//
// Whatever an instance answers can be passed on here: answers that are not plain are read by net/http's parser.
type Front struct {
	handler *Handler
	door    *Door
	limits  Limits
	log     *slog.Logger

	handed  chan net.Conn
	trouble chan error // capacity 1: why a connection, or all of them, can not be served
	closed  chan struct{}
	once    sync.Once
	closing atomic.Bool
	open    sync.WaitGroup

	mu      sync.Mutex
	clients map[*client]struct{}
}

// NewFront returns a front of the handler, behind a door; Run and the http.Server's Serve go together.
func NewFront(h *Handler, door *Door, limits Limits, log *slog.Logger) *Front {
	f := &Front{
		handler: h, door: door, limits: limits, log: log, handed: make(chan net.Conn), trouble: make(chan error, 1), closed: make(chan struct{}),
		clients: map[*client]struct{}{},
	}
	door.Crowded = f.say
	return f
}

// Accept implements net.Listener: the connections that are net/http's.
func (f *Front) Accept() (net.Conn, error) {
	select {
	case conn := <-f.handed:
		return conn, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (f *Front) Addr() net.Addr { return f.door.Addr() }

// Close implements net.Listener: no connection is accepted any more, nor handed over.
func (f *Front) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.door.Close()
}

// Run serves until ctx ends. Requests that are open then have the given time, after which cutOff is called, and they are cut
// off. It returns when every connection that was not handed over is closed.
func (f *Front) Run(ctx context.Context, drain time.Duration, cutOff func()) {
	var accepting sync.WaitGroup
	accepting.Go(f.accept)
	f.open.Go(func() { f.complain(ctx) })
	<-ctx.Done()
	f.closing.Store(true)
	_ = f.door.Close()
	accepting.Wait()
	f.each((*client).hurry)
	cut := time.AfterFunc(drain, func() {
		cutOff()
		_ = f.Close()
		f.each((*client).cut)
	})
	f.open.Wait()
	cut.Stop()
}

func (f *Front) accept() {
	const most = time.Second
	for wait := 5 * time.Millisecond; ; {
		conn, err := f.door.accept()
		switch {
		case err == nil:
			wait = 5 * time.Millisecond
			c := newClient(f, conn)
			f.mu.Lock()
			f.clients[c] = struct{}{}
			f.mu.Unlock()
			f.open.Go(c.serve)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// Most likely there are no more file descriptors.
			f.say(fmt.Errorf("accept: %w", err))
			select {
			case <-time.After(wait):
			case <-f.closed:
			}
			wait = min(2*wait, most)
		}
	}
}

// complain says what goes wrong beside serving: whoever reads the log may be slow, or away.
func (f *Front) complain(ctx context.Context) {
	for {
		select {
		case err := <-f.trouble:
			f.log.Error("connections are not served", "err", err)
		case <-ctx.Done():
			return
		}
	}
}

// say has complain say why connections are not served, unless that is saying it already.
func (f *Front) say(err error) {
	select {
	case f.trouble <- err:
	default:
	}
}

// each does something to every connection.
func (f *Front) each(do func(*client)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.clients {
		do(c)
	}
}

func (f *Front) forget(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, c)
}

// hand gives a connection to net/http.
func (f *Front) hand(conn net.Conn) {
	select {
	case f.handed <- conn:
	case <-f.closed:
		_ = conn.Close()
	}
}

// resumed is a connection of which something was read already.
type resumed struct {
	net.Conn
	before []byte
}

// Read implements io.Reader.
func (r *resumed) Read(p []byte) (int, error) {
	if len(r.before) > 0 {
		n := copy(p, r.before)
		r.before = r.before[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite lets net/http end a connection without cutting off its last answer.
func (r *resumed) CloseWrite() error { return closeWrite(r.Conn) }
