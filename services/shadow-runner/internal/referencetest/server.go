// Package referencetest is a real HTTP server with a known service law, to measure the measuring with: c workers, a fixed
// service time and one queue, which is M/D/c under Poisson arrivals.
package referencetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

// Server counts what reaches it.
type Server struct {
	// Address is its host:port.
	Address string

	http    *httptest.Server
	workers chan struct{}
	service time.Duration
	stall   chan struct{} // closed while it answers

	mu    sync.Mutex
	seen  []Seen
	times []time.Duration // that requests really took a worker
}

// Seen is one request that reached a server.
type Seen struct {
	Method, Path, Host string
	Header             http.Header
	Time               time.Time
}

// New starts a server that ends with the test.
func New(t testing.TB, workers int, service time.Duration) *Server {
	t.Helper()
	s := &Server{workers: make(chan struct{}, workers), service: service, stall: make(chan struct{})}
	close(s.stall)
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.Address = strings.TrimPrefix(s.http.URL, "http://")
	t.Cleanup(func() {
		s.Resume()
		s.Kill()
	})
	return s
}

// Kill ends it as a process ends: its connections break, and nobody listens any more.
func (s *Server) Kill() {
	s.http.CloseClientConnections()
	s.http.Close()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, Seen{Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: r.Header.Clone(), Time: time.Now()})
	stall := s.stall
	s.mu.Unlock()
	select {
	case <-stall:
	case <-r.Context().Done():
		return
	}
	s.workers <- struct{}{}
	begin := time.Now()
	time.Sleep(s.service) // the service law itself
	s.mu.Lock()
	s.times = append(s.times, time.Since(begin))
	s.mu.Unlock()
	<-s.workers
	w.WriteHeader(http.StatusOK)
}

// Stall makes it take requests and not answer them.
func (s *Server) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stall = make(chan struct{})
}

// Resume ends a stall.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stall:
	default:
		close(s.stall)
	}
}

// ServiceTimes are how long requests really took a worker, in the order they ended: a sleeping thread wakes up late.
func (s *Server) ServiceTimes() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.times...)
}

// Seen returns what has reached it so far.
func (s *Server) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Seen(nil), s.seen...)
}

// Event is a captured GET.
func Event(workload, session, target string, arrive time.Time) *foreshadowv1.CapturedRequest {
	return &foreshadowv1.CapturedRequest{
		Workload: workload, Session: session, ArriveTime: timestamppb.New(arrive), Method: http.MethodGet, Target: target,
		Host: "shop.example", Protocol: "HTTP/1.1", Weight: 1, BodyDisposition: foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE,
		Stratum: &foreshadowv1.Stratum{Route: "GET " + target, Geography: "unknown", Device: "desktop", Network: "unknown"},
	}
}

// Request is Event, parsed.
func Request(t testing.TB, session, target string, arrive time.Time) *captured.Request {
	t.Helper()
	r, err := captured.Parse(Event("shop", session, target, arrive))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
