package captured

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// HTTP returns a fresh request to the instance at address (host:port), marked as shadow traffic. The host the client asked
// for is kept as the Host header only: it does not choose where the request goes. It is put together here and not by
// http.NewRequest, which would write the target down and parse it again for each of thousands a second.
func (r *Request) HTTP(ctx context.Context, address string) *http.Request {
	target := *r.target
	target.Scheme, target.Host = "http", address
	req := &http.Request{
		Method: r.Method, URL: &target, Host: r.host, Header: r.header.Clone(), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(r.body)),
	}
	if len(r.body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		req.Body, _ = req.GetBody() // it never fails
	}
	req.Header.Set(traffic.ShadowHeader, r.mark)
	req.Header.Set("Baggage", r.baggage)
	req.Header.Set("Traceparent", traceparent())
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "") // net/http's own name is not the client's
	}
	return req.WithContext(ctx)
}

// traceparent begins a new trace that asks not to be recorded: replay would flood the tracing backend.
func traceparent() string {
	// An id of all zeros is invalid, and the one bit costs nothing.
	return fmt.Sprintf("00-%016x%016x-%016x-00", rand.Uint64(), rand.Uint64()|1, rand.Uint64()|1)
}
