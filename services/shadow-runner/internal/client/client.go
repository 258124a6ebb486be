// Package client sends requests to shadow instances and reads their answers to the end. It connects only where its guard
// lets it, follows no redirect, uses no proxy, and keeps connections open like the clients of production do.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

// Client is safe for concurrent use.
type Client struct {
	http      *http.Client
	transport *http.Transport
	timeout   time.Duration
	now       func() time.Time
}

// Options of a Client.
type Options struct {
	// Control is called with each resolved address before it is connected to; an error refuses it.
	Control func(network, address string, c syscall.RawConn) error
	// Timeout of one request, connecting and reading its answer included.
	Timeout time.Duration
	// MaxIdle is the number of connections kept open to one instance.
	MaxIdle int
	// Now is the clock.
	Now func() time.Time
}

// New returns a client without any connection.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: o.Timeout, Control: o.Control}
	transport := &http.Transport{
		DialContext: dialer.DialContext,
		// Compression is the captured client's choice, and reading must cost what it costs the client.
		DisableCompression:  true,
		MaxIdleConns:        o.MaxIdle,
		MaxIdleConnsPerHost: o.MaxIdle,
		IdleConnTimeout:     time.Minute,
		WriteBufferSize:     4 << 10,
		ReadBufferSize:      4 << 10,
	}
	return &Client{
		transport: transport, timeout: o.Timeout, now: o.Now,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Outcome is what became of a request.
type Outcome struct {
	// Done is when the last byte was read, or when it failed.
	Done time.Time
	// Status of the response; 0 when there was none.
	Status int
	// Bytes of the response's body.
	Bytes uint64
	// Err is a transport error, a timeout included.
	Err error
}

// Failed reports a failure as production's tap counts it: status 5xx or no response.
func (o Outcome) Failed() bool { return o.Err != nil || o.Status >= 500 }

// ErrTimeout: the instance did not answer in time.
var ErrTimeout = errors.New("no answer in time")

// Send sends the request to the instance at address and reads the whole answer.
func (c *Client) Send(ctx context.Context, address string, r *captured.Request) Outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, ErrTimeout)
	defer cancel()
	req, err := r.HTTP(ctx, address)
	if err != nil {
		return Outcome{Done: c.now(), Err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Outcome{Done: c.now(), Err: fmt.Errorf("send to %s: %w", address, err)}
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // everything was read, or err says why not
	if err != nil {
		err = fmt.Errorf("read answer of %s: %w", address, err)
	}
	return Outcome{Done: c.now(), Status: resp.StatusCode, Bytes: uint64(n), Err: err}
}

// Close ends the connections that no request is using.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
