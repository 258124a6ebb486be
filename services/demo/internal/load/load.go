// Package load plays users: it sends real HTTP requests open-loop, each due at a time of its own, whatever became of the
// ones before, and counts what users would have seen. Latency counts from the due time, so that a stalled service cannot
// hide behind a stalled sender.
package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
)

// Config says where to send what.
type Config struct {
	// URL of the service, for example http://127.0.0.1:8080.
	URL string
	// Requests are sent in this order, over and over.
	Requests []trace.Request
	// Rate is the demand of each second from the start, in requests per second; the run ends with the slice.
	Rate []float64
	// SLOLatency: a slower answer is a violation.
	SLOLatency time.Duration
	// Timeout: no answer by then is a failure.
	Timeout time.Duration
	// Seed makes arrivals repeatable.
	Seed uint64
}

// Second is what users saw of the requests due in one second.
type Second struct {
	// Due requests; each is sent.
	Due int `json:"due"`
	// Answered requests with a status below 500.
	Answered int `json:"answered"`
	// Failed: no answer, or status 5xx.
	Failed int `json:"failed"`
	// Slow answers: later than the SLO latency.
	Slow int `json:"slow"`
}

// Violations of the SLO: failed or slow.
func (s Second) Violations() int { return s.Failed + s.Slow }

// Generator sends the requests.
type Generator struct {
	cfg    Config
	client *http.Client

	mu      sync.Mutex
	seconds []Second
	reasons map[string]int
}

// New returns a generator; connections are kept alive as browsers keep theirs.
func New(cfg Config) *Generator {
	return &Generator{
		cfg: cfg, seconds: make([]Second, len(cfg.Rate)), reasons: map[string]int{},
		client: &http.Client{
			Timeout:       cfg.Timeout,
			Transport:     &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Run sends until the demand ends or ctx does, then waits for the last answers.
func (g *Generator) Run(ctx context.Context) error {
	start := time.Now()
	rng := rand.New(rand.NewPCG(g.cfg.Seed, 1))
	var wg sync.WaitGroup
	defer g.client.CloseIdleConnections()
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	sent := 0
	for second, rate := range g.cfg.Rate {
		// Arrivals of users who do not know of each other: a Poisson process of the second's rate.
		for offset := gap(rng, rate); offset < time.Second; offset += gap(rng, rate) {
			due := start.Add(time.Duration(second)*time.Second + offset)
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return nil
				}
			} else if ctx.Err() != nil {
				return nil
			}
			r := g.cfg.Requests[sent%len(g.cfg.Requests)]
			// Who comes again with the next round comes in a new session.
			session := fmt.Sprintf("%s/%d", r.Client, sent/len(g.cfg.Requests))
			sent++
			wg.Go(func() { g.send(second, due, r, session) })
		}
	}
	return nil
}

func gap(rng *rand.Rand, rate float64) time.Duration {
	if rate <= 0 {
		return time.Second
	}
	return time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
}

func (g *Generator) send(second int, due time.Time, r trace.Request, session string) {
	reason := g.try(r, session)
	slow := time.Since(due) > g.cfg.SLOLatency
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.seconds[second]
	s.Due++
	switch {
	case reason != "":
		s.Failed++
		g.reasons[reason]++
	case slow:
		s.Answered++
		s.Slow++
	default:
		s.Answered++
	}
}

// try returns why the request failed, or nothing. It is not cut short when the run ends: users do not leave because a
// demo does.
func (g *Generator) try(r trace.Request, session string) string {
	req, err := http.NewRequest(r.Method, g.cfg.URL+r.Target, nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("User-Agent", r.UserAgent)
	req.Header.Set("X-Session", session)
	if r.Referer != "" {
		req.Header.Set("Referer", r.Referer)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err.Error()
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return resp.Status
	}
	return ""
}

// Seconds returns what users saw so far, by the second their requests were due.
func (g *Generator) Seconds() []Second {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Second(nil), g.seconds...)
}

// Failures returns how many requests failed for each reason.
func (g *Generator) Failures() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[string]int, len(g.reasons))
	for r, n := range g.reasons {
		out[r] = n
	}
	return out
}
