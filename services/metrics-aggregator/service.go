package aggregator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/history"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/ingest"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/outbox"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/usage"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

// consumerGroup shares the partitions among all aggregators of one database.
const consumerGroup = "foreshadow-metrics-aggregator"

// Instances is what the aggregator asks of a platform.
type Instances interface {
	State(ctx context.Context, group string) (platform.State, error)
	Usage(ctx context.Context, group string) ([]platform.Usage, error)
}

// Deps are what the aggregator is given.
type Deps struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	Admin    *telemetry.Admin
	// RPC secures and bounds its server and clients; nil is plain text on loopback.
	RPC       *rpc.Edge
	Workloads []workload.Workload
	Kafka     kafka.Config
	// Instances may be nil: then there are no usage windows.
	Instances Instances
	// Listener replaces Config.Listen when it is set; Run closes it.
	Listener net.Listener
}

// Service is a metrics-aggregator.
type Service struct {
	cfg  Config
	deps Deps
}

// New checks what it is given; it does no I/O and starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := deps.Kafka.Validate(); err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, deps: deps}, nil
}

// Run serves until ctx ends, and returns nil then. A broker, database or platform that is away is waited for. It is called
// once.
func (s *Service) Run(ctx context.Context) error {
	pool, err := database.Open(s.cfg.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	r := &run{cfg: s.cfg, deps: s.deps, pool: pool, storage: database.NewStorage(pool)}
	if err := r.assemble(ctx.Done()); err != nil {
		return err
	}
	defer r.sender.Close()
	ln := s.deps.Listener
	if ln == nil {
		if ln, err = s.deps.RPC.Listen(s.cfg.Listen); err != nil {
			return err
		}
	}
	server := s.deps.RPC.NewServer(s.deps.Log)
	foreshadowv1.RegisterHistoryServiceServer(server, r.history)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx, ln) })
	group.Go(func() error { return r.work(ctx) })
	return group.Wait()
}

// run is the aggregator at work.
type run struct {
	cfg  Config
	deps Deps

	pool      *pgxpool.Pool
	storage   *database.Storage
	consumer  *kafka.Consumer
	sender    *kafka.Sender
	relay     *outbox.Relay
	collector *usage.Collector
	history   *history.Server
}

// assemble builds the parts; stopping is closed when the service is to stop.
func (r *run) assemble(stopping <-chan struct{}) error {
	bell := &notify.Bell{}
	store := window.NewStore(r.pool, r.storage, time.Now)
	sink, err := ingest.New(ingest.Config{
		Pool: r.pool, Store: store, Bell: bell, Width: r.cfg.Window, Retain: r.cfg.Retention, Now: time.Now, Registerer: r.deps.Registry,
	})
	if err != nil {
		return err
	}
	consumer := kafka.DefaultConsumerConfig()
	consumer.Kafka, consumer.Group, consumer.Topics = r.deps.Kafka, consumerGroup, ingest.Topics()
	consumer.Registerer, consumer.Logger = r.deps.Registry, r.deps.Log
	if r.consumer, err = kafka.NewConsumer(consumer, sink); err != nil {
		return err
	}
	// The relay itself says, once, that the broker is away.
	if r.sender, err = kafka.NewSender(r.deps.Kafka, nil); err != nil {
		return err
	}
	if r.relay, err = outbox.NewRelay(outbox.RelayConfig{
		Pool: r.pool, Sender: r.sender, Bell: bell, Status: r.deps.Admin, Log: r.deps.Log, Registerer: r.deps.Registry,
	}); err != nil {
		return err
	}
	if r.deps.Instances != nil {
		if r.collector, err = usage.New(usage.Config{
			Instances: r.deps.Instances, Saver: store, Bell: bell, Status: r.deps.Admin, Log: r.deps.Log,
			Workloads: r.deps.Workloads, Interval: r.cfg.UsageInterval, Now: time.Now, Registerer: r.deps.Registry,
		}); err != nil {
			return err
		}
	}
	names := make([]string, len(r.deps.Workloads))
	for i, w := range r.deps.Workloads {
		names[i] = w.Name
	}
	r.history = history.New(history.Config{Pool: r.pool, Bell: bell, Workloads: names, Width: r.cfg.Window, Now: time.Now, Done: stopping})
	r.deps.Admin.AddLedger(sink.Ledger)
	r.deps.Admin.AddLedger(r.relay.Ledger)
	return nil
}

// work begins when the database is there and migrated.
func (r *run) work(ctx context.Context) error {
	if !r.prepare(ctx) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.consumer.Run(ctx) })
	group.Go(func() error { r.relay.Run(ctx); return nil })
	group.Go(func() error { r.watchDatabase(ctx); return nil })
	group.Go(func() error { r.maintain(ctx); return nil })
	if r.collector != nil {
		group.Go(func() error { r.collector.Run(ctx); return nil })
	}
	return group.Wait()
}

const (
	databasePart = "database"
	retry        = time.Second
	maintenance  = time.Hour
)

// prepare migrates, as often as it takes; false means that ctx ended first.
func (r *run) prepare(ctx context.Context) bool {
	r.deps.Admin.NotReady(databasePart, database.Address(r.pool)+" is not migrated yet")
	for attempt := 0; ; attempt++ {
		err := database.Ping(ctx, r.pool)
		if err == nil {
			err = database.Migrate(ctx, r.pool)
		}
		if err == nil {
			err = r.storage.Maintain(ctx, time.Now(), r.cfg.Retention)
		}
		if err == nil {
			r.deps.Log.Info("database ready", "address", database.Address(r.pool))
			r.deps.Admin.Ready(databasePart)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if attempt == 0 {
			r.deps.Log.Warn("database not ready, retrying", "err", err)
		}
		r.deps.Admin.NotReady(databasePart, err.Error())
		if !sleep(ctx, retry) {
			return false
		}
	}
}

// watchDatabase reports when the database goes away and comes back; those who use it retry by themselves.
func (r *run) watchDatabase(ctx context.Context) {
	away := false
	for sleep(ctx, retry) {
		err := database.Ping(ctx, r.pool)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			r.deps.Log.Warn("database away, retrying", "err", err)
			r.deps.Admin.NotReady(databasePart, err.Error())
		case err == nil && away:
			r.deps.Log.Info("database back", "address", database.Address(r.pool))
			r.deps.Admin.Ready(databasePart)
		}
		away = err != nil
	}
}

// maintain makes days ahead and drops those that have expired.
func (r *run) maintain(ctx context.Context) {
	for pause := maintenance; sleep(ctx, pause); {
		pause = maintenance
		if err := r.storage.Maintain(ctx, time.Now(), r.cfg.Retention); err != nil && !errors.Is(err, context.Canceled) {
			r.deps.Log.Warn("database maintenance postponed", "err", fmt.Errorf("maintain: %w", err))
			pause = time.Minute
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
