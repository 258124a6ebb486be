package predictor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/api"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

// Config is the predictor's section of the configuration file.
type Config struct {
	// Listen is the address of its gRPC services.
	Listen string `yaml:"listen"`
	// Admin is the address of its admin listener.
	Admin string `yaml:"admin"`
	// History is the address of the HistoryService.
	History string `yaml:"history"`
}

// DefaultConfig returns the addresses of a single machine.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:7004", Admin: "127.0.0.1:9104", History: "127.0.0.1:7003"}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for _, a := range []struct{ key, address string }{{"listen", c.Listen}, {"admin", c.Admin}, {"history", c.History}} {
		if a.address == "" {
			errs = append(errs, fmt.Errorf("predictor.%s: is missing", a.key))
		} else if _, _, err := net.SplitHostPort(a.address); err != nil {
			errs = append(errs, fmt.Errorf("predictor.%s: want host:port: %w", a.key, err))
		}
	}
	return errors.Join(errs...)
}

// Deps is what the predictor works with.
type Deps struct {
	Workloads []workload.Workload
	Kafka     kafka.Config
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Admin     *telemetry.Admin
	// RPC secures and bounds its server and clients; nil is plain text on loopback.
	RPC *rpc.Edge
	// Tracing records how recommendations are made; nil records nothing.
	Tracing trace.TracerProvider
	// Now is the clock of the decisions.
	Now func() time.Time
}

// Service is the predictor.
type Service struct {
	cfg       Config
	deps      Deps
	models    map[string]*model.Model
	board     *board.Board
	publisher *kafka.Publisher[*foreshadowv1.Recommendation]
	windows   *metric.Book
	gauges    *gauges
	memory    *memory
}

// New returns a predictor for the given workloads.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, deps: deps, models: map[string]*model.Model{}, board: board.New(),
		windows: metric.NewBook("predictor/windows"), gauges: newGauges(deps.Registry),
	}
	for _, w := range deps.Workloads {
		m, err := model.New(w)
		if err != nil {
			return nil, err
		}
		s.models[w.Name] = m
	}
	p := kafka.DefaultPublisherConfig()
	p.Kafka, p.Topic, p.Source = deps.Kafka, kafka.TopicScalingRecommended, "/predictor"
	p.Registerer, p.Logger, p.Now = deps.Registry, deps.Log, deps.Now
	var err error
	if s.publisher, err = kafka.NewPublisher[*foreshadowv1.Recommendation](p); err != nil {
		return nil, fmt.Errorf("make publisher: %w", err)
	}
	if s.memory, err = newMemory(p, s.models, s.gauges); err != nil {
		return nil, err
	}
	deps.Admin.AddLedger(s.windows.Ledger)
	return s, nil
}

// Run predicts until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	conn, err := s.deps.RPC.Dial(s.cfg.History)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ln, err := s.deps.RPC.Listen(s.cfg.Listen)
	if err != nil {
		return err
	}
	server := s.deps.RPC.NewServer(s.deps.Log)
	forecasters := map[string]api.Forecaster{}
	for name, m := range s.models {
		forecasters[name] = m
	}
	api.New(api.Config{Board: s.board, Forecasters: forecasters, Now: s.deps.Now}).Register(server)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx, ln) })
	g.Go(func() error { return s.publisher.Run(ctx) })
	g.Go(func() error { <-ctx.Done(); s.board.Close(); return nil })
	predicting := &sync.WaitGroup{}
	s.follow(ctx, g, s.startModels(ctx, g, predicting, conn))
	g.Go(func() error { return s.memory.run(ctx, predicting) })
	return g.Wait()
}

// startModels starts learning and predicting for every workload and returns the channels that wake the predictions. Once
// predicting is over no decision is made any more.
func (s *Service) startModels(ctx context.Context, g *errgroup.Group, predicting *sync.WaitGroup, conn *grpc.ClientConn) map[string]chan struct{} {
	advanced := map[string]chan struct{}{}
	// Half of the machine learns; the other half decides.
	turns := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	for _, w := range s.deps.Workloads {
		m := s.models[w.Name]
		l := &learner{
			history: history{conn: conn, workload: w, now: s.deps.Now, begun: s.deps.Now()}, model: m, workload: w.Name,
			admin: s.deps.Admin, log: s.deps.Log, turns: turns, wake: make(chan struct{}, 1),
		}
		news := make(chan struct{}, 1)
		advanced[w.Name] = news
		g.Go(func() error { return l.run(ctx) })
		predicting.Add(1)
		g.Go(func() error {
			defer predicting.Done()
			return s.predict(ctx, w, l, news)
		})
	}
	return advanced
}

// follow hands live events to the models.
func (s *Service) follow(ctx context.Context, g *errgroup.Group, advanced map[string]chan struct{}) {
	// Events from shortly before the start are read too, so that none falls between history and the live part.
	since := s.deps.Now().Add(-time.Minute)
	f := feed{models: s.models, windows: s.windows, advanced: advanced, now: s.deps.Now, log: s.deps.Log}
	for topic, handle := range f.handlers() {
		g.Go(func() error {
			cfg := kafka.TailConfig{Kafka: s.deps.Kafka, Topic: topic, From: kafka.Since(since), Logger: s.deps.Log}
			if err := kafka.Tail(ctx, cfg, handle); err != nil {
				return fmt.Errorf("follow %s: %w", topic, err)
			}
			return nil
		})
	}
}

// predict makes the recommendations of one workload: one per interval, as soon as a new window has come.
func (s *Service) predict(ctx context.Context, w workload.Workload, l *learner, advanced <-chan struct{}) error {
	// Without news the recommendation is still renewed, for it would expire.
	tick := time.NewTicker(w.Policy.Interval)
	defer tick.Stop()
	part := "size of " + w.Name
	s.deps.Admin.NotReady(part, "the platform's usage of "+w.Name+" has not been reported yet")
	s.memory.await(ctx, w.Name)
	defer s.memory.keep(w.Name)
	var last, kept time.Time
	for {
		if now := s.deps.Now(); now.Sub(last) >= w.Policy.Interval*9/10 && s.predictOnce(l, now) {
			last = now
			s.deps.Admin.Ready(part)
			if now.Sub(kept) >= keepIntervals*w.Policy.Interval {
				s.memory.keep(w.Name)
				kept = now
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-advanced:
		case <-tick.C:
		}
	}
}

// predictOnce makes, posts and publishes one recommendation. It reports false when none can be made yet.
func (s *Service) predictOnce(l *learner, now time.Time) bool {
	l.nudge(l.model.Advance(now))
	begin := time.Now()
	r := l.model.Predict(now)
	if r == nil {
		return false
	}
	s.board.Post(r)
	s.publisher.PublishEvent(kafka.Event[*foreshadowv1.Recommendation]{Key: r.GetWorkload(), Message: r, Traceparent: s.trace(r, begin)})
	s.gauges.set(r)
	s.gauges.setTrust(r.GetWorkload(), l.model.Trust())
	s.gauges.played.WithLabelValues(r.GetWorkload()).Set(l.model.Played().Seconds())
	return true
}
