package client

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/emulate"
)

// lines are connections that belong together: those of all requests, or those of one session.
type lines struct {
	session string
	profile emulate.Profile
	one     *http.Transport // HTTP/1.1
	two     *http.Transport // HTTP/2
}

// limits of connections.
type limits struct {
	idle, open int // 0 = not bounded
	keepAlive  time.Duration
}

func (c *Client) newLines(p emulate.Profile, l limits) *lines {
	transport := func(two bool) *http.Transport {
		t := &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return p.Dial(ctx, func(ctx context.Context) (net.Conn, error) { return c.dialer.DialContext(ctx, network, address) })
			},
			// Compression is the captured client's choice, and reading must cost what it costs the client.
			DisableCompression: true,
			MaxIdleConns:       l.idle, MaxIdleConnsPerHost: l.idle, MaxConnsPerHost: l.open, IdleConnTimeout: l.keepAlive,
			WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
			Protocols: &http.Protocols{},
		}
		t.Protocols.SetHTTP1(!two || c.o.TLS != nil) // an instance may know no HTTP/2, which only TLS tells
		t.Protocols.SetHTTP2(two && c.o.TLS != nil)
		t.Protocols.SetUnencryptedHTTP2(two && c.o.TLS == nil)
		if c.o.TLS != nil {
			t.TLSClientConfig, t.TLSHandshakeTimeout = c.o.TLS.Clone(), c.o.Timeout
		}
		return t
	}
	return &lines{profile: p, one: transport(false), two: transport(true)}
}

func (l *lines) close() {
	l.one.CloseIdleConnections()
	l.two.CloseIdleConnections()
}

// round sends a request by the protocol and over the connections it belongs to. A transport follows no redirect. travelled is
// how much of the time was that of round trips that are emulated.
func (c *Client) round(req *http.Request, r *captured.Request) (resp *http.Response, travelled func() time.Duration, err error) {
	l := c.linesOf(r)
	var dialled atomic.Bool
	if l.profile.RTT > 0 {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) { dialled.Store(!i.Reused) },
		}))
	}
	if req.Host == "" {
		req.Host = req.URL.Host
	}
	transport := l.one
	if r.GRPC || c.o.HTTP2 && r.HTTP2 {
		transport = l.two
	}
	resp, err = transport.RoundTrip(req)
	return resp, func() time.Duration {
		if dialled.Load() {
			return 2 * l.profile.RTT
		}
		return l.profile.RTT
	}, err
}

// linesOf are the session's own with emulated clients; a session that was not heard of for long loses them.
func (c *Client) linesOf(r *captured.Request) *lines {
	if c.o.Profiles == nil {
		return c.shared
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.sessions[r.Session]; e != nil {
		c.use.MoveToFront(e)
		return e.Value.(*lines)
	}
	p := c.o.Profiles
	l := c.newLines(p.Of(r.Stratum), limits{idle: p.Connections, open: p.Connections, keepAlive: p.KeepAlive})
	l.session = r.Session
	c.sessions[r.Session] = c.use.PushFront(l)
	for c.use.Len() > max(c.o.MaxSessions, 1) {
		c.drop(c.use.Back())
	}
	return l
}

func (c *Client) drop(e *list.Element) {
	l := e.Value.(*lines)
	l.close()
	delete(c.sessions, l.session)
	c.use.Remove(e)
}

// Close ends the connections that no request is using.
func (c *Client) Close() {
	c.shared.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.use.Len() > 0 {
		c.drop(c.use.Back())
	}
}

// grpcStatus is the HTTP equivalent of a call's outcome (google/rpc/code.proto).
func grpcStatus(resp *http.Response) int {
	code := resp.Trailer.Get("Grpc-Status")
	if code == "" {
		code = resp.Header.Get("Grpc-Status")
	}
	switch code {
	case "0":
		return http.StatusOK
	case "4":
		return http.StatusGatewayTimeout
	case "12":
		return http.StatusNotImplemented
	case "14":
		return http.StatusServiceUnavailable
	case "", "2", "13", "15":
		return http.StatusInternalServerError // a call that ends without a status was cut off
	}
	return http.StatusBadRequest
}
