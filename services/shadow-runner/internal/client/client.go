// Package client sends requests to shadow instances and reads their answers to the end. It connects only where its guard
// lets it, follows no redirect, uses no proxy, and keeps connections open: those of a proxy in front of the service, or those of
// emulated clients, each session with its own. It speaks HTTP/1.1, HTTP/2 and gRPC over it, with TLS and without. What the shadow gives to
// a session is carried by its later requests.
package client

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/emulate"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/token"
)

// Client is safe for concurrent use.
type Client struct {
	o      Options
	dialer *net.Dialer
	shared *lines
	jars   *token.Jars

	mu       sync.Mutex
	sessions map[string]*list.Element // with emulated clients
	use      *list.List               // most recently used first
}

// Options of a Client.
type Options struct {
	// Control is called with each resolved address before it is connected to; an error refuses it.
	Control func(network, address string, c syscall.RawConn) error
	// Timeout of one request, connecting and reading its answer included.
	Timeout time.Duration
	// MaxIdle is the number of connections kept open to one instance.
	MaxIdle int
	// HTTP2 sends what came to production by HTTP/2 by HTTP/2; gRPC always is.
	HTTP2 bool
	// TLS of the instances; nil when they speak without. Which HTTP is spoken is then agreed upon (ALPN, RFC 7301).
	TLS *tls.Config
	// Profiles are what clients are like, each session then with connections of its own; nil for connections that all share.
	Profiles *emulate.Profiles
	// Tokens are learnt from answers and carried by the session's later requests, beside cookies.
	Tokens []workload.TokenRule
	// MaxSessions bounds the sessions whose cookies, tokens and own connections are kept; 0 keeps none.
	MaxSessions int
	// Now is the clock.
	Now func() time.Time
}

// New returns a client without any connection.
func New(o Options) *Client {
	c := &Client{
		o: o, dialer: &net.Dialer{Timeout: o.Timeout, Control: o.Control}, sessions: map[string]*list.Element{}, use: list.New(),
		jars: token.NewJars(o.Tokens, o.MaxSessions),
	}
	c.shared = c.newLines(emulate.Profile{}, limits{idle: o.MaxIdle, keepAlive: time.Minute})
	return c
}

// Outcome is what became of a request.
type Outcome struct {
	// Done is when the last byte was read, or when it failed. The round trips of an emulated client are not part of it: what
	// production measures ends at its own door, too.
	Done time.Time
	// Status of the response; 0 when there was none. That of a failed gRPC call is its HTTP equivalent.
	Status int
	// Bytes of the response's body.
	Bytes uint64
	// Kind is the response's content type, Encoding its content codings, Head the beginning of its body, where somebody looks
	// into it.
	Kind, Encoding string
	Head           []byte
	// Err is a transport error, a timeout included.
	Err error
}

// Failed reports a failure as production's tap counts it: status 5xx or no response.
func (o Outcome) Failed() bool { return o.Err != nil || o.Status >= 500 }

// ErrTimeout: the instance did not answer in time.
var ErrTimeout = errors.New("no answer in time")

// Send sends the request to the instance at address and reads the whole answer.
func (c *Client) Send(ctx context.Context, address string, r *captured.Request) Outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, ErrTimeout)
	defer cancel()
	req := r.HTTP(ctx, address)
	if c.o.TLS != nil {
		req.URL.Scheme = "https"
	}
	var jar *token.Jar
	if c.o.MaxSessions > 0 {
		jar = c.jars.Of(r.Session)
		jar.Apply(req, r.Body())
	}
	resp, travelled, err := c.round(req, r)
	if err != nil {
		return Outcome{Done: c.o.Now(), Err: fmt.Errorf("send to %s: %w", address, err)}
	}
	head := &beginning{}
	if kind := resp.Header.Get("Content-Type"); c.o.MaxSessions > 0 && (strings.Contains(kind, "json") || strings.Contains(kind, "html")) {
		head.room = headBytes
	}
	n, err := io.Copy(head, resp.Body)
	_ = resp.Body.Close() // everything was read, or err says why not
	if err != nil {
		err = fmt.Errorf("read answer of %s: %w", address, err)
	}
	out := Outcome{Done: c.o.Now().Add(-travelled()), Status: resp.StatusCode, Bytes: uint64(n), Kind: resp.Header.Get("Content-Type"), Encoding: strings.Join(resp.Header["Content-Encoding"], ", "), Head: head.data, Err: err}
	if r.GRPC && err == nil {
		out.Status = grpcStatus(resp)
	}
	if jar != nil {
		jar.Learn(resp, head.data)
	}
	return out
}

// headBytes of an answer are looked into.
const headBytes = token.MaxBody

// beginning keeps the first bytes of what is written and counts the rest off.
type beginning struct {
	data []byte
	room int
}

func (b *beginning) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.data, b.room = append(b.data, p[:n]...), b.room-n
	return len(p), nil
}
