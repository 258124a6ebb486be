// Package telemetry is how a process tells what it does: one structured log, one Prometheus registry, spans for an
// OpenTelemetry collector where there is one, and one admin listener with /livez, /readyz, /metrics, /ledger and, on loopback,
// pprof.
package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// Config says what to log and where the admin listener is.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is text or json.
	LogFormat string `yaml:"log_format"`
	// Traces go to an OpenTelemetry collector.
	Traces Traces `yaml:"traces"`
}

// DefaultConfig logs changes of state as text.
func DefaultConfig() Config { return Config{LogLevel: "info", LogFormat: "text"} }

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	if err := new(slog.Level).UnmarshalText([]byte(c.LogLevel)); err != nil {
		errs = append(errs, fmt.Errorf("log_level: want debug, info, warn or error, got %q", c.LogLevel))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		errs = append(errs, fmt.Errorf("log_format: want text or json, got %q", c.LogFormat))
	}
	return errors.Join(append(errs, c.Traces.validate())...)
}

// Logger returns the log of one service.
func (c Config) Logger(w io.Writer, service string) *slog.Logger {
	var level slog.Level
	// An unknown level was refused by Validate; info is the zero value.
	_ = level.UnmarshalText([]byte(c.LogLevel))
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if c.LogFormat == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	return slog.New(h).With("service", service)
}

// NewRegistry returns a registry with the Go runtime's and the process's own metrics.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Admin is the admin listener of a process. Parts of a service report their state to it; it serves what they report.
type Admin struct {
	registry *prometheus.Registry

	mu      sync.Mutex
	unready map[string]string
	ledgers []func() metric.Ledger
	pages   map[string]func() any
}

// NewAdmin returns the admin pages over a registry.
func NewAdmin(registry *prometheus.Registry) *Admin {
	a := &Admin{registry: registry, unready: map[string]string{}, pages: map[string]func() any{}}
	registry.MustRegister(a)
	return a
}

// AddLedger shows a ledger on /ledger and as foreshadow_ledger_items_total.
func (a *Admin) AddLedger(read func() metric.Ledger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledgers = append(a.ledgers, read)
}

// Show serves what read returns, as JSON, at a path of its own. It must come before Handler and Serve.
func (a *Admin) Show(path string, read func() any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[path] = read
}

// NotReady declares that a part cannot do its work and why; the process is ready when no part says so.
func (a *Admin) NotReady(part, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unready[part] = reason
}

// Ready declares that a part can do its work.
func (a *Admin) Ready(part string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.unready, part)
}

// Ledgers reads all ledgers.
func (a *Admin) Ledgers() []metric.Ledger {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]metric.Ledger, len(a.ledgers))
	for i, read := range a.ledgers {
		out[i] = read()
	}
	return out
}

// Handler serves the pages. pprof answers only to loopback.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, a.Ledgers())
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, read := range a.pages {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, read()) })
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.Handle("/debug/pprof/", loopback(http.HandlerFunc(pprof.Index)))
	mux.Handle("/debug/pprof/profile", loopback(http.HandlerFunc(pprof.Profile)))
	mux.Handle("/debug/pprof/trace", loopback(http.HandlerFunc(pprof.Trace)))
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error is the reader's going away
}

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unready) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(a.unready)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

func loopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			http.Error(w, "only from this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Serve runs the admin listener until ctx ends.
func (a *Admin) Serve(ctx context.Context, address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	return ServeHTTP(ctx, ln, &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 5 * time.Second}, 2*time.Second)
}

// ServeHTTP runs an HTTP server until ctx ends, then lets open requests finish within the given time.
func ServeHTTP(ctx context.Context, ln net.Listener, srv *http.Server, drain time.Duration) error {
	return ServeHTTPAndCut(ctx, ln, srv, drain, func() {})
}

// ServeHTTPAndCut is ServeHTTP that calls cutOff before it closes the connections of requests whose time is up: else they
// would take that for clients going away.
func ServeHTTPAndCut(ctx context.Context, ln net.Listener, srv *http.Server, drain time.Duration, cutOff func()) error {
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve http on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if srv.Shutdown(deadline) != nil {
		if deadline.Err() != nil {
			cutOff()
		}
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve http on %s: %w", ln.Addr(), err)
	}
	return nil
}
