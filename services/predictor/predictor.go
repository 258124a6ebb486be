package predictor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

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
	return Config{Listen: "127.0.0.1:9103", Admin: "127.0.0.1:9203", History: "127.0.0.1:9102"}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for key, v := range map[string]string{"listen": c.Listen, "history": c.History} {
		if v == "" {
			errs = append(errs, fmt.Errorf("predictor.%s: is missing", key))
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
	history   history
	windows   *metric.Book
	gauges    *gauges
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
	deps.Admin.AddLedger(s.windows.Ledger)
	return s, nil
}

// Run predicts until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	conn, err := rpc.Dial(s.cfg.History)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	s.history = history{client: foreshadowv1.NewHistoryServiceClient(conn), now: s.deps.Now}
	ln, err := rpc.Listen(s.cfg.Listen)
	if err != nil {
		return err
	}
	server := rpc.NewServer(s.deps.Log)
	forecasters := map[string]api.Forecaster{}
	for name, m := range s.models {
		forecasters[name] = m
	}
	api.New(s.board, forecasters, s.deps.Now).Register(server)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx, ln) })
	g.Go(func() error { return s.publisher.Run(ctx) })
	// Events from shortly before the start are read too, so that none falls between history and the live part.
	since := s.deps.Now().Add(-time.Minute)
	advanced := map[string]chan struct{}{}
	for _, w := range s.deps.Workloads {
		advanced[w.Name] = make(chan struct{}, 1)
		g.Go(func() error { return s.predict(ctx, w, advanced[w.Name]) })
	}
	f := feed{models: s.models, windows: s.windows, advanced: advanced, log: s.deps.Log}
	for topic, handle := range f.handlers() {
		g.Go(func() error {
			cfg := kafka.TailConfig{Kafka: s.deps.Kafka, Topic: topic, From: kafka.Since(since), Logger: s.deps.Log}
			if err := kafka.Tail(ctx, cfg, handle); err != nil {
				return fmt.Errorf("follow %s: %w", topic, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// predict makes the recommendations of one workload: one per interval, as soon as a new window has come.
func (s *Service) predict(ctx context.Context, w workload.Workload, advanced <-chan struct{}) error {
	m := s.models[w.Name]
	loader := &loader{history: s.history, model: m, workload: w, admin: s.deps.Admin, log: s.deps.Log}
	refit := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range refit {
			m.Refit()
		}
	}()
	defer func() { close(refit); <-done }()

	// Without news the recommendation is still renewed, for it would expire.
	tick := time.NewTicker(w.Policy.Interval)
	defer tick.Stop()
	var last time.Time
	for {
		loader.load(ctx, s.deps.Now())
		if now := s.deps.Now(); now.Sub(last) >= w.Policy.Interval*9/10 {
			last = now
			s.predictOnce(m, now, loader, refit)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-advanced:
		case <-tick.C:
		}
	}
}

// predictOnce makes, posts and publishes one recommendation.
func (s *Service) predictOnce(m *model.Model, now time.Time, l *loader, refit chan<- struct{}) {
	if m.Advance(now) {
		l.again()
	}
	if m.NeedsRefit() {
		select {
		case refit <- struct{}{}:
		default: // one is waiting already
		}
	}
	r := m.Predict(now)
	s.board.Post(r)
	s.publisher.Publish(r.GetWorkload(), r)
	s.gauges.set(r)
}
