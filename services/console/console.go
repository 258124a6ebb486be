package console

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/console/internal/gateway"
	"github.com/foreshadow/foreshadow/services/console/internal/live"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// dist is what `make console` built; without it the page says so.
//
//go:embed all:web/dist
var dist embed.FS

const (
	adminPart     = "console"
	pollPace      = time.Second
	heartbeat     = 5 * time.Second
	readTimeout   = 5 * time.Second
	writeTimeout  = 10 * time.Second
	drainTimeout  = 2 * time.Second
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 64 << 10
)

// Deps are what the command gives the console.
type Deps struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	Admin    *telemetry.Admin
	// RPC secures and bounds its server and clients; nil is plain text on loopback.
	RPC *rpc.Edge
	// Workloads the page can show, in order.
	Workloads []workload.Workload
}

// Service is the console.
type Service struct {
	cfg     Config
	deps    Deps
	up      *prometheus.GaugeVec
	metrics live.Metrics
}

// New checks the configuration; it connects to nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(deps.Workloads) == 0 {
		return nil, errors.New("console: there are no workloads to show")
	}
	if cfg.TLS && deps.RPC.ServerTLS() == nil {
		return nil, errors.New("console.tls: needs rpc.tls.certificate")
	}
	s := &Service{
		cfg: cfg, deps: deps,
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_console_backend_up", Help: "1 while the backend is connected.",
		}, []string{"backend"}),
		metrics: live.Metrics{
			Clients: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "foreshadow_console_clients", Help: "Browsers connected to the event streams.",
			}),
			Slow: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "foreshadow_console_slow_clients_total", Help: "Browsers disconnected because they did not keep up.",
			}),
			Failures: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "foreshadow_console_upstream_failures_total", Help: "Calls to a backend that failed, by source.",
			}, []string{"source"}),
		},
	}
	deps.Admin.NotReady(adminPart, "not listening yet on "+cfg.Listen)
	for _, c := range []prometheus.Collector{s.up, s.metrics.Clients, s.metrics.Slow, s.metrics.Failures} {
		if err := deps.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register console metrics: %w", err)
		}
	}
	return s, nil
}

// Run serves the page on the configured address until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for console: %w", err)
	}
	return s.Serve(ctx, ln)
}

// Serve serves the page on a listener until ctx ends, and closes it. A backend that is away does not make the console
// unready: the page is needed most when something is away, and it says what.
func (s *Service) Serve(ctx context.Context, ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	set, err := upstream.Open(s.deps.RPC, upstream.Addresses{
		History: s.cfg.History, Predictor: s.cfg.Predictor, Provisioner: s.cfg.Provisioner, ShadowRunner: s.cfg.ShadowRunner,
	}, s.deps.Log, s.up)
	if err != nil {
		return err
	}
	page, err := fs.Sub(dist, "web/dist")
	if err != nil {
		return errors.Join(fmt.Errorf("open page: %w", err), set.Close())
	}
	feeds := map[string]*live.Feed{}
	for _, w := range s.deps.Workloads {
		feeds[w.Name] = live.NewFeed(w, set.Clients, live.Options{
			Retention: s.cfg.Retention, MaxClients: s.cfg.MaxClients, Pace: pollPace,
		}, s.metrics, s.deps.Log)
	}
	handler, err := gateway.New(gateway.Config{
		Workloads: s.deps.Workloads, Feeds: feeds, Clients: set.Clients, Hosts: s.cfg.Hosts, Page: page,
		Heartbeat: heartbeat, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, Log: s.deps.Log,
	})
	if err != nil {
		return errors.Join(err, set.Close())
	}
	if s.cfg.TLS {
		ln = tls.NewListener(ln, s.deps.RPC.ServerTLS())
	}
	// The feeds end with the server, also when it ends by itself; they disconnect the browsers, which the server waits for.
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	tell := func() {
		for _, f := range feeds {
			f.Backends(set.States())
		}
	}
	tell()
	wg.Go(func() { set.Run(ctx, tell) })
	for _, f := range feeds {
		wg.Go(func() { f.Run(ctx) })
	}
	s.deps.Admin.Ready(adminPart)
	err = telemetry.ServeHTTP(ctx, ln, &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}, drainTimeout)
	cancel()
	wg.Wait()
	return errors.Join(err, set.Close())
}
