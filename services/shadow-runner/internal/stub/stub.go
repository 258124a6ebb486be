// Package stub stands in for what the shadow calls: a payment service, a mail server's API. The shadow is pointed at it instead
// of the real thing. By route it answers with what the configuration says or with what was recorded, or it refuses; a call that
// nothing is known of is refused too, and counted, so that nothing leaves the shadow unseen.
//
//	shadow --> stub --+-- block:  403
//	                  +-- serve:  the configured answer, else the recorded one, else 501
//	                  +-- record: the upstream's answer, kept for serve (never production's, never with a method that changes state)
//
// How long calls take is counted, which tells a service that is slow from one that waits.
package stub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
)

// Reasons on the stub's account.
const (
	Blocked = "blocked" // the mode refuses all
	Unknown = "unknown" // nothing says what to answer
	Refused = "refused" // it must not be forwarded
)

const (
	maxBody     = 1 << 20
	maxRecorded = 1000
	timeout     = 10 * time.Second
)

// Options of a Stub.
type Options struct {
	// Dependency is what it stands in for.
	Dependency workload.Dependency
	// Control is called with each resolved address that record connects to; an error refuses it.
	Control func(network, address string, c syscall.RawConn) error
	// Book is the account of the calls.
	Book *metric.Book
	Log  *slog.Logger
	Now  func() time.Time
}

// Stub is safe for concurrent use.
type Stub struct {
	o      Options
	client *http.Client

	mu       sync.Mutex
	calls    measure.Calls
	recorded map[string]answer
	dirty    bool
}

// answer is one that was recorded.
type answer struct {
	Status int    `json:"status"`
	Kind   string `json:"content_type"`
	Body   []byte `json:"body"`
}

// New reads what was recorded, if the file is there.
func New(o Options) (*Stub, error) {
	dialer := &net.Dialer{Timeout: timeout, Control: o.Control}
	s := &Stub{o: o, recorded: map[string]answer{}, client: &http.Client{
		Timeout: timeout, Transport: &http.Transport{DialContext: dialer.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if o.Dependency.File == "" {
		return s, nil
	}
	data, err := os.ReadFile(o.Dependency.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("read recorded answers: %w", err)
	}
	if err := json.Unmarshal(data, &s.recorded); err != nil {
		return nil, fmt.Errorf("decode recorded answers %s: %w", o.Dependency.File, err)
	}
	return s, nil
}

// Calls is what was called so far.
func (s *Stub) Calls() measure.Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Run serves until ctx ends, and then keeps what was recorded.
func (s *Stub) Run(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.o.Dependency.Listen)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", s.o.Dependency.Name, err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: timeout, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)}
	err = telemetry.ServeHTTP(ctx, ln, server, time.Second)
	s.client.CloseIdleConnections()
	return errors.Join(err, s.save())
}

func (s *Stub) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty || s.o.Dependency.File == "" {
		return nil
	}
	data, err := json.MarshalIndent(s.recorded, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.o.Dependency.File), 0o700)
	}
	if err == nil {
		err = replace(s.o.Dependency.File, data)
	}
	if err != nil {
		return fmt.Errorf("keep recorded answers: %w", err)
	}
	return nil
}

// replace writes a file in one go: who is killed, or finds the disk full, leaves the old one behind.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".recording-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// ServeHTTP answers one call.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := s.o.Now()
	s.o.Book.See(1)
	status, reason := s.serve(w, r)
	if reason != "" {
		s.o.Book.Drop(reason, 1)
	} else {
		s.o.Book.Pass(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.Count++
	s.calls.Seconds += s.o.Now().Sub(begin).Seconds()
	if status >= http.StatusInternalServerError {
		s.calls.Failed++
	}
}

func (s *Stub) serve(w http.ResponseWriter, r *http.Request) (status int, reason string) {
	refuse := func(status int, reason, why string) (int, string) {
		http.Error(w, "foreshadow stub "+s.o.Dependency.Name+": "+why, status)
		return status, reason
	}
	if s.o.Dependency.Mode == workload.Block {
		return refuse(http.StatusForbidden, Blocked, "calls are blocked")
	}
	for _, route := range s.o.Dependency.Routes {
		if fits(route.Route, r) {
			if !sleep(r.Context(), route.Latency) {
				return http.StatusServiceUnavailable, Refused
			}
			return write(w, answer{Status: route.Status, Kind: route.ContentType, Body: []byte(route.Body)}), ""
		}
	}
	key := r.Method + " " + r.URL.RequestURI()
	s.mu.Lock()
	known, is := s.recorded[key]
	s.mu.Unlock()
	switch {
	case s.o.Dependency.Mode == workload.Record:
		return s.forward(w, r, key, refuse)
	case is:
		return write(w, known), ""
	}
	return refuse(http.StatusNotImplemented, Unknown, "nothing says what to answer to "+r.Method+" "+r.URL.Path)
}

// forward asks the upstream and keeps its answer. The mark of the shadow travels on, so that a tap there refuses it.
func (s *Stub) forward(w http.ResponseWriter, r *http.Request, key string, refuse func(int, string, string) (int, string)) (int, string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return refuse(http.StatusForbidden, Refused, r.Method+" may change state and is not forwarded")
	}
	req := r.Clone(r.Context())
	req.URL.Scheme, req.URL.Host, req.RequestURI, req.Host = "http", s.o.Dependency.Upstream, "", s.o.Dependency.Upstream
	resp, err := s.client.Do(req)
	if err != nil {
		return refuse(http.StatusBadGateway, Refused, "not forwarded: "+err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(resp.Body, maxBody+1)); err != nil || body.Len() > maxBody {
		return refuse(http.StatusBadGateway, Refused, "the answer is too large or was cut off")
	}
	a := answer{Status: resp.StatusCode, Kind: resp.Header.Get("Content-Type"), Body: body.Bytes()}
	s.mu.Lock()
	if len(s.recorded) < maxRecorded {
		s.recorded[key], s.dirty = a, true
	}
	s.mu.Unlock()
	return write(w, a), ""
}

func write(w http.ResponseWriter, a answer) int {
	if a.Kind != "" {
		w.Header().Set("Content-Type", a.Kind)
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // an error means that the shadow has left
	return a.Status
}

// fits reports whether a call is of a route such as "GET /rates/{currency}".
func fits(route string, r *http.Request) bool {
	method, template, _ := strings.Cut(route, " ")
	parts, want := strings.Split(r.URL.Path, "/"), strings.Split(template, "/")
	if method != r.Method || len(parts) != len(want) {
		return false
	}
	for i, w := range want {
		wild := strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}")
		if w != parts[i] && !wild {
			return false
		}
	}
	return true
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
