// Package shop is the sample web shop that the demo scales: a real HTTP server with the limits of a real one. It takes
// a while to start, works on a bounded number of requests at once (as a service with a database pool does), spends CPU on
// each, and queues what it cannot work on yet. So an instance has a knee: above a certain rate its latency explodes.
package shop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
)

// Config is how one instance of the shop behaves.
type Config struct {
	// Startup is the time until it is ready.
	Startup time.Duration
	// Workers is how many requests it works on at once.
	Workers int
	// ServiceTime is the mean time one request takes a worker.
	ServiceTime time.Duration
	// Drain is how long open requests may take after a stop was asked for.
	Drain time.Duration
}

const (
	maxBody   = 32 << 10      // larger pages are cut, to keep the demo about the shop and not about the loopback
	cpuRounds = 4             // hashes of the page, about a tenth of a millisecond of CPU
	spread    = 0.5           // service times lie within mean*(1 +- spread), fixed per page
	maxQueue  = 4096          // beyond it the shop answers 503 as a real one would
	blockSize = maxBody / 128 // bytes of one repeated block of a page
)

// Shop is one instance.
type Shop struct {
	cfg     Config
	pages   map[string]trace.Request
	workers chan struct{}
	queue   chan struct{}
	ready   chan struct{}
}

// New returns an instance that is not ready yet.
func New(cfg Config) (*Shop, error) {
	if cfg.Workers < 1 || cfg.ServiceTime < 0 || cfg.Startup < 0 {
		return nil, errors.New("shop: want at least 1 worker and no negative times")
	}
	requests, err := trace.LoadRequests()
	if err != nil {
		return nil, fmt.Errorf("load catalogue: %w", err)
	}
	s := &Shop{
		cfg: cfg, pages: make(map[string]trace.Request, len(requests)), workers: make(chan struct{}, cfg.Workers),
		queue: make(chan struct{}, maxQueue), ready: make(chan struct{}),
	}
	for _, r := range requests {
		s.pages[r.Target] = r
	}
	return s, nil
}

// Run serves on the listener until ctx ends, then finishes open requests.
func (s *Shop) Run(ctx context.Context, ln net.Listener) error {
	warm := time.AfterFunc(s.cfg.Startup, func() { close(s.ready) })
	defer warm.Stop()
	return telemetry.ServeHTTP(ctx, ln, &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}, s.cfg.Drain)
}

// ServeHTTP answers /healthz by readiness and everything else like the site the access log is from.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.ready:
	default:
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/healthz" {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	select {
	case s.queue <- struct{}{}:
		defer func() { <-s.queue }()
	default:
		http.Error(w, "too busy", http.StatusServiceUnavailable)
		return
	}
	select {
	case s.workers <- struct{}{}:
		defer func() { <-s.workers }()
	case <-r.Context().Done():
		return
	}
	s.answer(w, r)
}

// answer holds a worker for the page's service time.
func (s *Shop) answer(w http.ResponseWriter, r *http.Request) {
	target := r.URL.RequestURI()
	timer := time.NewTimer(s.serviceTime(target))
	defer timer.Stop()
	page, known := s.pages[r.URL.RequestURI()]
	if !known {
		page = trace.Request{Status: http.StatusOK, Bytes: blockSize}
	}
	block := make([]byte, blockSize)
	for range cpuRounds * len(block) / sha256.Size {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	size := min(page.Bytes, maxBody)
	if page.Status == http.StatusNotModified || page.Status == http.StatusNoContent {
		w.WriteHeader(page.Status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(page.Status)
	if r.Method == http.MethodHead {
		return
	}
	for size > 0 {
		n, err := w.Write(block[:min(size, len(block))])
		if err != nil {
			return
		}
		size -= n
	}
}

// serviceTime is fixed for a target: the same page always costs the same.
func (s *Shop) serviceTime(target string) time.Duration {
	h := fnv.New32a()
	_, _ = io.WriteString(h, target)
	u := float64(h.Sum32()) / (1 << 32)
	return time.Duration(float64(s.cfg.ServiceTime) * (1 + spread*(2*u-1)))
}
