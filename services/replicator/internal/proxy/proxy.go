// Package proxy is the inline way in: a reverse proxy between users and the instances. Plain HTTP/1.1 requests take the short
// way (Front); net/http carries the protocol of everything else
// (HTTP/1.1, cleartext HTTP/2 from the client, trailers, 100-continue, upgrades, streaming both ways); this package chooses
// the instance, sends again what an instance never got, and tells the tap how each request ended.
//
// How a request ends:
//
//	answered            status as the instance gave it; 5xx is a failure
//	no instance ready   503 with Retry-After, a failure
//	instance unreachable or broken before its answer began: 502, a failure
//	instance broken half way through its answer: the client's connection is cut, a failure
//	client went away    no failure; the promise is broken only if it had waited beyond the SLO without an answer
//	                    (one that closes its half of the connection before it has the answer is taken for gone, as nginx does)
package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// StatusClientClosed stands for a request whose client went away before the answer, as nginx does.
const StatusClientClosed = 499

// flushWithin is how long the beginning of an answer may wait for more of it, and so not be a packet of its own.
const flushWithin = 10 * time.Millisecond

// Reasons of failures on this side of the instance.
const (
	ReasonNoInstance = "no_instance" // none was ready in time
	ReasonUpstream   = "upstream"    // the instance broke before its answer began
	ReasonTruncated  = "truncated"   // the instance broke half way through its answer
	ReasonShutdown   = "shutdown"    // the replicator's own drain ran out
	ReasonStatus     = "status"      // the instance answered 5xx
)

// Config says how to proxy.
type Config struct {
	// WaitReady is how long a request may wait for an instance; attempts to connect to one do not count.
	WaitReady time.Duration
	// TrustForwarded keeps and extends X-Forwarded-* of the client; otherwise they are begun anew.
	TrustForwarded bool
	// SLOLatency is the promise, by which a client that left is judged.
	SLOLatency time.Duration
}

// Handler is the proxy. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	pool    *balance.Pool
	tap     *tap.Tap
	metrics *Metrics
	reverse *httputil.ReverseProxy
	ending  context.Context
	open    sync.WaitGroup
	closing atomic.Bool
	later   later
	buffers *buffers
}

// New returns a handler. When ending is done, requests that still run are cut off, and are failures.
func New(ending context.Context, cfg Config, pool *balance.Pool, t *tap.Tap, m *Metrics) *Handler {
	h := &Handler{cfg: cfg, pool: pool, tap: t, metrics: m, ending: ending, buffers: &buffers{}}
	h.reverse = &httputil.ReverseProxy{
		Rewrite:        h.rewrite,
		Transport:      h,
		ModifyResponse: h.modifyResponse,
		ErrorHandler:   h.fail,
		BufferPool:     h.buffers,
		FlushInterval:  flushWithin,
		// What it would say is counted, with its reason.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return h
}

// LastCall has clients told that their requests are the last ones of their connections.
func (h *Handler) LastCall() { h.closing.Store(true) }

// Wait returns when every request has ended, those of upgraded connections included.
func (h *Handler) Wait() {
	h.open.Wait()
	h.later.wait()
}

// call is what is known of one request on its way.
type call struct {
	arrive    time.Time
	tapped    *tap.Exchange
	instance  *balance.Instance
	body      *requestBody
	response  *responseBody
	upgraded  bool
	streaming bool
	// answer is the instance's, whose trailers are there when its body has ended; only of a gRPC call.
	answer *http.Response
	// upgradeLatency is the time to the handshake: how long the connection then lasts is the client's choice.
	upgradeLatency time.Duration
	reason         string
	read           atomic.Int64
	written        atomic.Int64
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.open.Add(1)
	defer h.open.Done()
	arrive := time.Now()
	if tap.IsLoop(r.Header) {
		http.Error(w, "a shadow request must not reach production", http.StatusLoopDetected)
		h.tap.RefuseLoop(time.Since(arrive))
		h.metrics.count(http.StatusLoopDetected, "")
		return
	}
	x := h.tap.Begin(r, arrive)
	c := &call{arrive: arrive, tapped: x}
	out := r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	if r.ContentLength != 0 {
		c.body = &requestBody{src: r.Body, copyTo: x.Body()}
		out.Body, _ = c.body.again() // nothing was read yet
		// Without it net/http holds back the answer until the client has sent its whole body, and an instance that
		// answers as it reads would wait for ever. HTTP/2 does so anyway and says that it is not supported.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	rw := &responseWriter{ResponseWriter: w}
	// Deferred, because a response that breaks half way ends in a panic that net/http turns into a cut connection.
	defer h.finish(x, c, rw, r)
	if r.Method == http.MethodConnect {
		http.Error(rw, "this is no forward proxy", http.StatusMethodNotAllowed)
		return
	}
	h.reverse.ServeHTTP(rw, out)
}

// rewrite undoes what ReverseProxy changes beyond hop-by-hop headers: an instance gets what the client sent.
func (h *Handler) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.RawQuery = strings.ReplaceAll(p.In.URL.RawQuery, " ", "%20") // which HTTP/2 allows, and ends a target in HTTP/1.1
	p.Out.URL.Opaque = asItCame(p.In)
	// Shared, so that the trailers are there when the body has ended.
	p.Out.Trailer = p.In.Trailer
	if h.cfg.TrustForwarded {
		for _, name := range []string{"Forwarded", "X-Forwarded-For"} {
			if v, ok := p.In.Header[name]; ok {
				p.Out.Header[name] = v
			}
		}
	}
	p.SetXForwarded()
	if h.cfg.TrustForwarded {
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v, ok := p.In.Header[name]; ok {
				p.Out.Header[name] = v
			}
		}
	}
}

// asItCame is the path of a target of which net/url would escape more than the client did; empty for the others, and when there is a
// blank in it.
func asItCame(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.Contains(target, " ") || target == r.URL.RequestURI() {
		return ""
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// fail answers for an instance that did not.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	c := callOf(r.Context())
	switch {
	case h.ending.Err() != nil:
		c.reason = ReasonShutdown
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Context().Err() != nil:
		w.WriteHeader(StatusClientClosed)
	case c.body != nil && c.body.broken():
		w.WriteHeader(http.StatusBadRequest)
	case errors.Is(err, balance.ErrNoInstance):
		c.reason = ReasonNoInstance
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		c.reason = ReasonUpstream
		w.WriteHeader(http.StatusBadGateway)
	}
}

// finish gives the instance back and tells the tap.
func (h *Handler) finish(x *tap.Exchange, c *call, w *responseWriter, r *http.Request) {
	if c.instance != nil {
		h.pool.Release(c.instance)
	}
	res := h.result(c, w, r)
	// A gRPC answer without a body has its status in the frame that ends it, which flushing would split in two.
	if x.Sampled() && !c.upgraded && !res.Aborted && w.err == nil && c.answer == nil {
		// The client need not wait for the copy to be made; an error here is the client's going away.
		_ = http.NewResponseController(w).Flush()
	}
	h.metrics.observe(res, c.reason)
	x.EndLater(res, h.later.do)
}

func (h *Handler) result(c *call, w *responseWriter, r *http.Request) tap.Result {
	now := time.Now()
	res := tap.Result{
		Status: w.status, Upgraded: c.upgraded, BodyRead: true,
		RequestBytes:  requestHeadBytes(r) + c.written.Load(),
		ResponseBytes: w.head + w.body + c.read.Load(), ResponseBodyBytes: w.body,
		Latency: now.Sub(c.arrive),
	}
	if c.body != nil {
		res.RequestBodyBytes, res.BodyRead, _ = c.body.end()
		res.BodyRead = res.BodyRead || res.RequestBodyBytes == r.ContentLength
		res.RequestBytes += res.RequestBodyBytes
	}
	if c.upgraded {
		res.Status, res.Latency = http.StatusSwitchingProtocols, c.upgradeLatency
	}
	if c.streaming && !w.headAt.IsZero() {
		res.Latency = w.headAt.Sub(c.arrive)
	}
	cut := c.response != nil && c.response.err != nil
	res.Cut = cut
	switch {
	case h.ending.Err() != nil && (cut || c.reason == ReasonShutdown):
		c.reason = ReasonShutdown
	case w.status == StatusClientClosed || w.err != nil || cut && r.Context().Err() != nil:
		res.Aborted, res.Late = true, h.cfg.SLOLatency > 0 && w.waited(c.arrive, now) > h.cfg.SLOLatency
		if w.status == StatusClientClosed {
			res.Status = 0
		}
	case cut:
		c.reason = ReasonTruncated
	case c.reason == "" && (w.status >= http.StatusInternalServerError || grpcFailed(c.answer)):
		c.reason = ReasonStatus
	}
	res.Failed = c.reason != ""
	return res
}
