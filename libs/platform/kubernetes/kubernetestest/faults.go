package kubernetestest

import (
	"net/http"
	"sync"
	"time"
)

// Faults stands before an API server.
type Faults struct {
	next http.Handler

	mu       sync.Mutex
	fault    func(*http.Request) int
	requests []Request
}

// Request is one that came.
type Request struct {
	Time                time.Time
	Method, Path, Query string
	// Status that a fault answered with; 0 when it went through.
	Status int
}

// Sever is the status of a fault that cuts the connection without an answer.
const Sever = -1

// Inject has each request answered with the status that f returns for it; 0 lets it through. nil ends all faults.
func (f *Faults) Inject(fault func(*http.Request) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Requests returns those that came since the last call.
func (f *Faults) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.requests
	f.requests = nil
	return out
}

// ServeHTTP implements http.Handler.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	status := 0
	if f.fault != nil {
		status = f.fault(r)
	}
	f.requests = append(f.requests, Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: status})
	f.mu.Unlock()
	switch status {
	case 0:
		f.next.ServeHTTP(w, r)
	case Sever:
		panic(http.ErrAbortHandler)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
		refuse(w, status, "TooManyRequests", "too many requests")
	default:
		refuse(w, status, reasons[status], "a fault of the test's")
	}
}

// reasons of the statuses, as clients tell them apart.
var reasons = map[int]string{
	http.StatusConflict: "Conflict", http.StatusGone: "Expired", http.StatusInternalServerError: "InternalError",
	http.StatusServiceUnavailable: "ServiceUnavailable", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound",
	http.StatusUnprocessableEntity: "Invalid", http.StatusMethodNotAllowed: "MethodNotAllowed", http.StatusBadRequest: "BadRequest",
}
