// Package mirror is the way in for those who already mirror: a sink for the copies that nginx, Envoy, Istio, a Gateway or
// HAProxy's agent send. It answers every copy at once and with nothing, whatever happens behind it, for a proxy may hold
// its own client's connection until the copy is answered, as nginx does.
//
// A mirror shows requests and no answers: there is no status, latency or error here, and none is made up. What arrives is
// what the proxy in front sends: its requests come from the proxy's address, so that the client's is taken from
// X-Forwarded-For, and a copy that the proxy never made or gave up on is not seen at all.
package mirror

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// shadowSuffix is what Envoy, and Istio with it, adds to the host of a mirrored request.
const shadowSuffix = "-shadow"

// Reasons for which a copy cannot be passed on.
const (
	ReasonCut = "cut" // the proxy in front gave up half way through the body
)

// Handler is the sink. It is safe for concurrent use.
type Handler struct {
	tap  *tap.Tap
	open sync.WaitGroup
}

// New returns a sink that hands over to the tap.
func New(t *tap.Tap) *Handler { return &Handler{tap: t} }

// Wait returns when every copy that has begun was handed over.
func (h *Handler) Wait() { h.open.Wait() }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.open.Add(1)
	defer h.open.Done()
	arrive := time.Now()
	r.Host = originalHost(r.Host)
	if tap.IsLoop(r.Header) {
		answer(w)
		h.tap.RefuseLoop(-1)
		return
	}
	x := h.tap.Begin(r, arrive)
	res := tap.Result{Blind: true, BodyRead: true, Upgraded: isUpgrade(r.Header)}
	if r.ContentLength != 0 {
		var err error
		// An answer before the end of the body would make some proxies close the connection and dial anew for each copy.
		if res.RequestBodyBytes, err = io.Copy(bodyOf(x), r.Body); err != nil {
			res.Lost = ReasonCut
		}
	}
	res.RequestBytes = res.RequestBodyBytes + headBytes(r)
	answer(w)
	x.End(res)
}

// answer lets the proxy in front go on before the copy is made.
func answer(w http.ResponseWriter) {
	w.Header()["Date"] = nil
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // an error is the proxy's going away
}

func bodyOf(x *tap.Exchange) io.Writer {
	if body := x.Body(); body != nil {
		return body
	}
	return io.Discard
}

// originalHost undoes what Envoy does to the host: `-shadow` before the port.
func originalHost(host string) string {
	name, port := host, ""
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		name, port = host[:colon], host[colon:]
	}
	if trimmed, ok := strings.CutSuffix(name, shadowSuffix); ok && trimmed != "" {
		return trimmed + port
	}
	return host
}

func isUpgrade(h http.Header) bool {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// headBytes is the size of the head in HTTP/1.1.
func headBytes(r *http.Request) int64 {
	n := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len(r.Host) + len("  \r\nHost: \r\n\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(n)
}
