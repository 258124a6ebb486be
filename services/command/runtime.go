package command

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
)

// process is what every service of one process shares.
type process struct {
	file     file
	path     string // of the configuration
	log      *slog.Logger
	registry *prometheus.Registry
	admin    *telemetry.Admin
	declared *declaration
	tracing  trace.TracerProvider
	// kubernetes is the connection to the API server; nil until something needs it.
	kubernetes *kubernetes.Client
	// rpc is set for services only.
	rpc *rpc.Edge
}

func newProcess(f file, service string) *process {
	registry := telemetry.NewRegistry()
	return &process{
		file: f, log: f.Telemetry.Logger(os.Stderr, service), registry: registry, admin: telemetry.NewAdmin(registry),
	}
}

// trace has spans recorded where the configuration asks for them; flush exports the last of them.
func (p *process) trace(ctx context.Context, name string) (flush func(), err error) {
	cfg := p.file.Telemetry.Traces
	tracing, stop, err := cfg.Tracing(ctx, name)
	if err != nil {
		return nil, err
	}
	if p.tracing = tracing; cfg.Endpoint != "" {
		p.rpc.Trace(tracing)
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { p.log.Warn("spans not exported", "err", err) }))
	}
	return func() {
		if err := stop(context.WithoutCancel(ctx)); err != nil {
			p.log.Warn("last spans not exported", "err", err)
		}
	}, nil
}

// runner is a service, whatever it does.
type runner interface {
	Run(ctx context.Context) error
}

// reloader is a service that takes over a changed configuration while it runs.
type reloader interface {
	Reload(f file) error
}

// reload reads the configuration anew at each SIGHUP until ctx ends. A file that is not valid changes nothing. After that the signal
// does nothing: it is not given back, or it would end the process, and with it the requests that are still open.
func (p *process) reload(ctx context.Context, service reloader) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangUp:
		}
		f, err := load(p.path)
		if err == nil {
			err = service.Reload(f)
		}
		if err != nil {
			p.log.Error("configuration not reloaded, what held before still does", "err", err)
			continue
		}
		p.log.Info("configuration reloaded")
	}
}

// run serves the admin pages and the service until either ends.
func (p *process) run(ctx context.Context, adminAddress string, service runner) error {
	ctx, ended := context.WithCancel(ctx)
	defer ended()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.admin.Serve(ctx, adminAddress) })
	g.Go(func() error {
		defer ended() // a service that has done its work, such as reading a log once, is the end of the process
		return service.Run(ctx)
	})
	if r, ok := service.(reloader); ok {
		g.Go(func() error { p.reload(ctx, r); return nil })
	}
	g.Go(func() error { return p.declared.follow(ctx) })
	p.log.Info("started", "admin", adminAddress)
	err := stopped(g.Wait())
	if err == nil {
		p.log.Info("stopped")
	}
	return err
}

const reachTimeout = 10 * time.Second

// broker makes sure that the broker answers and the topics are there.
func broker(ctx context.Context, f file) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := kafka.Ping(ctx, f.Kafka); err != nil {
		return err
	}
	return kafka.EnsureTopics(ctx, f.Kafka, kafka.DefaultTopics())
}

// brokerAndDatabase makes sure that both answer.
func brokerAndDatabase(ctx context.Context, f file) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := aggregator.Ping(ctx, f.Database.URL); err != nil {
		return err
	}
	return broker(ctx, f)
}

// service is how one of them is made.
type service struct {
	name, short string
	// needs reaches what must be there when it begins; nil needs nothing.
	needs func(context.Context, file) error
	build func(p *process) (runner, error)
	// admin is the address of its admin listener.
	admin func(f file) string
}

// serviceCommand is the command of one service.
func serviceCommand(s service) *cobra.Command {
	cmd := &cobra.Command{Use: s.name, Short: s.short, Args: noArgs}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		p := newProcess(f, s.name)
		p.path = *path
		if p.rpc, err = rpc.New(f.RPC, p.log, p.registry); err != nil {
			return usageError{err}
		}
		flush, err := p.trace(cmd.Context(), s.name)
		if err != nil {
			return err
		}
		defer flush()
		if p.declared, err = p.declare(cmd.Context(), s.name, s.admin(f)); err != nil {
			return err
		}
		runner, err := s.build(p)
		if err != nil {
			return usageError{err}
		}
		if s.needs != nil {
			if err := s.needs(cmd.Context(), f); err != nil {
				return err
			}
		}
		return p.run(cmd.Context(), s.admin(f), runner)
	}
	return cmd
}
