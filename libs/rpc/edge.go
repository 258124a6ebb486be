package rpc

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// MaxMessageBytes bounds every answer, and what Limits.RequestBytes can be set to.
const MaxMessageBytes = 16 << 20

// Edge is what all gRPC servers and clients of a process share. It is safe for concurrent use and holds no goroutine. A nil
// Edge is one with the Default configuration.
type Edge struct {
	cfg     Config
	log     *slog.Logger
	files   *watched[material] // nil without TLS
	token   *watched[string]   // nil without a token of our own
	callers *callers
	allow   map[string]map[string]bool
	refused *prometheus.CounterVec
	tracing trace.TracerProvider // nil records no spans
}

// New reads the files that the configuration names. registry may be nil.
func New(cfg Config, log *slog.Logger, registry prometheus.Registerer) (*Edge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Edge{cfg: cfg, log: log, allow: map[string]map[string]bool{}}
	for _, r := range cfg.Allow {
		e.allow[r.Service] = map[string]bool{}
		for _, id := range r.Identities {
			e.allow[r.Service][id] = true
		}
	}
	var err error
	if cfg.TLS.enabled() {
		if e.files, err = watch(log, "rpc.tls", cfg.TLS.load, cfg.TLS.Certificate, cfg.TLS.Key, cfg.TLS.CA); err != nil {
			return nil, err
		}
	}
	if cfg.Token != "" || cfg.TokenFile != "" {
		if e.token, err = watchToken(log, "rpc.token", cfg.Token, cfg.TokenFile); err != nil {
			return nil, err
		}
	}
	if e.callers, err = newCallers(log, cfg.Callers); err != nil {
		return nil, err
	}
	e.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foreshadow_rpc_refused_total", Help: "Connections and calls that the servers of this process refused or cut off, by reason.",
	}, []string{"reason"})
	if registry != nil {
		if err := registry.Register(e.refused); err != nil {
			return nil, fmt.Errorf("register rpc metrics: %w", err)
		}
	}
	return e, nil
}

// Trace records a span for each call of the servers and clients that are made from now on, and passes the caller's trace on.
func (e *Edge) Trace(tracing trace.TracerProvider) { e.tracing = tracing }

func (e *Edge) traced() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(e.tracing), otelgrpc.WithPropagators(propagation.TraceContext{}), otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	}
}

// plain is the Edge of those who were given none.
func plain() *Edge {
	e, err := New(Default(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		panic(err) // the defaults are valid and name no file
	}
	return e
}

func (e *Edge) orPlain() *Edge {
	if e == nil {
		return plain()
	}
	return e
}

// Listen opens the listener of a server and names the address when it cannot. An address that others reach is refused
// without TLS.
func (e *Edge) Listen(address string) (net.Listener, error) {
	e = e.orPlain()
	if err := e.cfg.CheckListen(address); err != nil {
		return nil, fmt.Errorf("listen for grpc: %w", err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for grpc: %w", err)
	}
	return ln, nil
}

// Listen is Edge.Listen of an Edge that speaks plain text on loopback.
func Listen(address string) (net.Listener, error) { return (*Edge)(nil).Listen(address) }

// NewServer is Edge.NewServer of an Edge that speaks plain text on loopback.
func NewServer(log *slog.Logger) *Server { return (*Edge)(nil).NewServer(log) }

// Dial is Edge.Dial of an Edge that speaks plain text.
func Dial(address string) (*grpc.ClientConn, error) { return (*Edge)(nil).Dial(address) }

// refuse counts what was refused.
func (e *Edge) refuse(reason string) { e.refused.WithLabelValues(reason).Inc() }

// checkEvery bounds how often the files are looked at.
const checkEvery = time.Second
