package proxy

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
)

// maxTries bounds the instances that one request is offered to.
const maxTries = 8

// RoundTrip implements http.RoundTripper for the ReverseProxy: it offers the request to one instance after another while
// that cannot be harmful. An instance that refused the connection got nothing, so any request may go on to the next one as
// long as its body is at hand. An instance that broke before its answer may have acted, so only safe methods go on, once.
func (h *Handler) RoundTrip(out *http.Request) (*http.Response, error) {
	c, ctx := callOf(out.Context()), out.Context()
	deadline := time.Now().Add(h.cfg.WaitReady)
	broke := false
	for try := 1; ; try++ {
		instance, err := h.pool.Acquire(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if err := c.prepare(out); err != nil {
			h.pool.Release(instance)
			return nil, err
		}
		asked := time.Now()
		response, err := instance.RoundTrip(out)
		if err == nil {
			if c.body != nil {
				c.body.seal()
			}
			c.instance = instance
			return response, nil
		}
		h.pool.Release(instance)
		refused := isRefused(err)
		if refused {
			h.refused(instance, err)
		}
		if ctx.Err() != nil || try == maxTries || !refused && (broke || !isSafe(out.Method)) || !c.canSendAgain() {
			return nil, err
		}
		broke = broke || !refused
		h.metrics.retries.Inc()
		deadline = deadline.Add(time.Since(asked)) // an instance was there, if in vain
		// The transport may still look at the request it was given; the trailers stay shared.
		next, target := out.WithContext(ctx), *out.URL
		next.URL = &target
		out = next
	}
}

// prepare gives the request the body from its beginning. net/http's own retry, on a connection that the instance closed
// while it was idle, comes back for it too.
func (c *call) prepare(out *http.Request) (err error) {
	if c.body == nil {
		out.Body = nil
		return nil
	}
	out.GetBody = c.body.again
	out.Body, err = c.body.again()
	return err
}

func (c *call) canSendAgain() bool {
	if c.body == nil {
		return true
	}
	c.body.mu.Lock()
	defer c.body.mu.Unlock()
	return !c.body.lost && c.body.err == nil
}

// broken reports whether the client's body could not be read.
func (b *requestBody) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

// isRefused reports whether there was no connection at all.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, context.Canceled)
}

// refused sees to it that the next try fares better: with another instance, or with what the idle connections took.
func (h *Handler) refused(instance *balance.Instance, err error) {
	if isOurs(err) {
		h.pool.CloseIdle()
	} else {
		h.pool.SetAside(instance)
	}
}

// isOurs reports whether it was this process that could not make a connection: no instance is to be set aside for it, for all
// of them would be, although they have idle connections that serve.
func isOurs(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, func(e error) bool { return errors.Is(err, e) })
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

// modifyResponse puts the counters on the instance's answer.
func (h *Handler) modifyResponse(res *http.Response) error {
	c := callOf(res.Request.Context())
	if res.StatusCode == http.StatusSwitchingProtocols {
		if conn, ok := res.Body.(io.ReadWriteCloser); ok {
			c.upgraded, c.upgradeLatency = true, time.Since(c.arrive)
			res.Body = upgradedConn{ReadWriteCloser: conn, read: &c.read, written: &c.written}
		}
		return nil
	}
	if h.closing.Load() {
		res.Header.Set("Connection", "close")
	}
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && media == "text/event-stream" {
		c.streaming = true
	}
	if balance.IsGRPC(res.Request) {
		c.answer = res
	}
	c.response = &responseBody{ReadCloser: res.Body, seen: look(c.tapped, res)}
	res.Body = c.response
	return nil
}

// grpcFailed reports whether a gRPC call ended by a fault of the server's: the codes for which HTTP has 5xx.
func grpcFailed(res *http.Response) bool {
	if res == nil {
		return false
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status") // an answer without a body has no trailers
	}
	switch status {
	case "2", "4", "8", "13", "14", "15": // unknown, deadline exceeded, resource exhausted, internal, unavailable, data loss
		return true
	}
	return false
}

// bufferBytes is the copying buffer of ReverseProxy.
const bufferBytes = 32 << 10

// buffers implements httputil.BufferPool.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferBytes]byte); ok {
		return p[:]
	}
	return make([]byte, bufferBytes)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferBytes]byte)(p)) }
