package captured

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// HTTP returns a fresh request to the instance at address (host:port), marked as shadow traffic. The host the client asked
// for is kept as the Host header only: it does not choose where the request goes.
func (r *Request) HTTP(ctx context.Context, address string) (*http.Request, error) {
	target := *r.target
	target.Scheme, target.Host = "http", address
	req, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Host = r.host
	req.Header = r.header.Clone()
	if len(r.body) == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set(traffic.ShadowHeader, r.mark)
	req.Header.Set("Baggage", r.baggage)
	req.Header.Set("Traceparent", traceparent())
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "") // net/http's own name is not the client's
	}
	return req, nil
}

// traceparent begins a new trace that asks not to be recorded: replay would flood the tracing backend.
func traceparent() string {
	// An id of all zeros is invalid, and the one bit costs nothing.
	return fmt.Sprintf("00-%016x%016x-%016x-00", rand.Uint64(), rand.Uint64()|1, rand.Uint64()|1)
}
