package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// awayFor is the least time between two requests to an API server that does not answer.
	awayFor = time.Second
	// maxRetryAfter bounds how long the API server can ask to be left alone.
	maxRetryAfter = 10 * time.Second
)

// ErrAway says that the API server did not answer lately, and that it is not asked again yet.
var ErrAway = errors.New("the API server is away")

// gate lets requests through while the API server answers. Once it does not, or says that it has too much to do, one request
// a second goes through, whoever makes it, until one is answered. However many callers retry however often, an API server
// that comes back is not met by all of them.
type gate struct {
	next http.RoundTripper

	mu      sync.Mutex
	closed  bool
	probing bool
	openAt  time.Time
	cause   string
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	probe, err := g.enter(time.Now())
	if err != nil {
		return nil, err
	}
	resp, err := g.next.RoundTrip(req)
	g.leave(probe, resp, err, time.Now())
	return resp, err
}

// CloseIdleConnections passes on what http.Client asks for.
func (g *gate) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// enter reports whether the request is the one that finds out, or why it is not made.
func (g *gate) enter(now time.Time) (probe bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.closed:
		return false, nil
	case g.probing || now.Before(g.openAt):
		return false, fmt.Errorf("%w (%s)", ErrAway, g.cause)
	}
	g.probing = true
	return true, nil
}

func (g *gate) leave(probe bool, resp *http.Response, err error, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		g.probing = false
	}
	wait := awayFor
	switch {
	case errors.Is(err, context.Canceled):
		return // tells nothing of the API server
	case err != nil:
		g.cause = err.Error()
	case overloaded(resp.StatusCode):
		g.cause = resp.Status
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			wait = min(max(wait, time.Duration(s)*time.Second), maxRetryAfter)
		}
	default:
		if probe {
			g.closed = false
		}
		return
	}
	// The jitter keeps several processes apart.
	g.closed, g.openAt = true, now.Add(wait+rand.N(wait/4))
}

// overloaded says whether an answer asks to be left alone. Other errors are those of one object, and hold up no other.
func overloaded(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}
