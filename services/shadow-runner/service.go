package shadowrunner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
)

// Group is the consumer group of all runners of an installation, of which one has all the traffic.
const Group = "foreshadow-shadow-runner"

// source is the CloudEvents source of everything that the runner publishes.
const source = "/shadow-runner"

// drainTimeout is how long requests in flight may finish once the runner is stopped.
const drainTimeout = 5 * time.Second

// Service is the shadow-runner.
type Service struct {
	cfg          Config
	deps         Deps
	lanes        map[string]*lane
	intake       *intake
	seat         *seat
	experiments  *experiment.Store
	consumer     *kafka.Consumer
	observations *kafka.Publisher[*foreshadowv1.MetricsObserved]
	capacities   *kafka.Publisher[*foreshadowv1.CapacityMeasured]
	sender       *kafka.Sender // of experiments, which wait until they are durable
}

// New checks the configuration and does no I/O.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(deps.Workloads) == 0 {
		return nil, errors.New("workloads: is missing: say which service to shadow")
	}
	b := books{
		captured: metric.NewBook("shadow-runner/replay"), extra: metric.NewBook("shadow-runner/amplified"),
		probe: metric.NewBook("shadow-runner/probe"), dependencies: metric.NewBook("shadow-runner/dependencies"),
		compared: metric.NewBook("shadow-runner/compared"),
	}
	s := &Service{cfg: cfg, deps: deps, lanes: map[string]*lane{}, seat: newSeat()}
	m, err := newMetrics(deps.Registry)
	if err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	s.experiments = experiment.NewStore(experiment.Options{
		Check: s.experimentable, Log: experiment.NewTopic(s.sender, source, time.Now), Runner: uuid.NewString(), Now: time.Now,
	})
	for _, w := range deps.Workloads {
		l, err := newLane(cfg, deps, w, b)
		if err != nil {
			return nil, err
		}
		l.experiments, l.metrics, l.seat = s.experiments, m, s.seat
		l.observe = func(o *foreshadowv1.MetricsObserved) { s.observations.Publish(o.GetWorkload(), o) }
		l.publish = func(c *foreshadowv1.CapacityMeasured) { s.capacities.Publish(c.GetWorkload(), c) }
		s.lanes[w.Name] = l
	}
	s.intake = newIntake(b.captured, s.lanes)
	for _, book := range []*metric.Book{b.captured, b.extra, b.probe, b.dependencies, b.compared} {
		deps.Admin.AddLedger(book.Ledger)
	}
	deps.Admin.Show("/differences", s.differences)
	deps.Admin.AddLedger(func() metric.Ledger { return published("shadow-runner/observations", s.observations.Ledger()) })
	deps.Admin.AddLedger(func() metric.Ledger { return published("shadow-runner/capacities", s.capacities.Ledger()) })
	return s, nil
}

// connect makes the ends of the topics; none of them does I/O yet.
func (s *Service) connect() (err error) {
	consumer := kafka.DefaultConsumerConfig()
	consumer.Kafka, consumer.Group, consumer.Topics = s.deps.Kafka, Group, []string{kafka.TopicTrafficCaptured}
	consumer.Registerer, consumer.Logger = s.deps.Registry, s.deps.Log
	consumer.Exclusive, consumer.Assigned = true, s.assigned
	if s.consumer, err = kafka.NewGroupReader(consumer, func(_ context.Context, records []kafka.Record) error {
		return s.intake.handle(records)
	}); err != nil {
		return err
	}
	publisher := kafka.DefaultPublisherConfig()
	publisher.Kafka, publisher.Source, publisher.Topic = s.deps.Kafka, source, kafka.TopicMetricsObserved
	publisher.Registerer, publisher.Logger = s.deps.Registry, s.deps.Log
	if s.observations, err = kafka.NewPublisher[*foreshadowv1.MetricsObserved](publisher); err != nil {
		return err
	}
	publisher.Topic = kafka.TopicCapacityMeasured
	if s.capacities, err = kafka.NewPublisher[*foreshadowv1.CapacityMeasured](publisher); err != nil {
		return err
	}
	s.sender, err = kafka.NewSender(s.deps.Kafka, s.deps.Log)
	return err
}

func published(hop string, l kafka.Ledger) metric.Ledger {
	return metric.Ledger{Hop: hop, Seen: l.Offered, Passed: l.Published, Dropped: l.Dropped, Pending: l.Pending}
}

// assigned takes the seat with the partitions, and gives it up with them.
func (s *Service) assigned(partitions int) {
	mine := partitions > 0
	switch moved := s.seat.set(mine); {
	case moved && mine:
		s.deps.Log.Info("seat taken")
	case moved:
		s.deps.Log.Info("seat lost")
	}
}

// experimentable is asked before an experiment is begun. A runner in reserve knows no traffic, and leaves that to the one that has the
// seat and will carry the experiment out: whichever a caller reaches can be asked.
func (s *Service) experimentable(workload string) (rate float64, err error) {
	l := s.lanes[workload]
	if l == nil {
		return 0, fmt.Errorf("workload %q: %w", workload, rpc.ErrNotFound)
	}
	switch mine, known := s.seat.look(); {
	case !known:
		return 0, fmt.Errorf("it is not known yet which runner has the seat: %w", rpc.ErrUnavailable)
	case !mine:
		return 0, l.staged()
	}
	return l.experimentable()
}

// Run works until ctx ends. It then stops taking captured traffic, lets the requests in flight finish, and publishes what
// they did.
func (s *Service) Run(ctx context.Context) error {
	ln, err := s.deps.RPC.Listen(s.cfg.Listen)
	if err != nil {
		return err
	}
	server := s.deps.RPC.NewServer(s.deps.Log)
	foreshadowv1.RegisterExperimentServiceServer(server, s.experiments)

	// The publishers outlive the lanes, whose last observations they carry.
	publishCtx, stopPublishers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishers()
	var publishers errgroup.Group
	publishers.Go(func() error { return s.observations.Run(publishCtx) })
	publishers.Go(func() error { return s.capacities.Run(publishCtx) })

	g, gctx := errgroup.WithContext(ctx)
	abort, stopFlights := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFlights()
	defer context.AfterFunc(gctx, func() { time.AfterFunc(drainTimeout, stopFlights) })()
	g.Go(func() error { return server.Serve(gctx, ln) })
	g.Go(func() error { return s.consumer.Run(gctx) })
	g.Go(func() error { s.watchBroker(gctx); return nil })
	defer s.sender.Close()
	recalled := make(chan struct{})
	g.Go(func() error { return s.recallAll(gctx, recalled) })
	if k, can := s.deps.Trials.(TrialKeeper); can {
		g.Go(func() error { return k.KeepTrials(gctx) })
	}
	for _, l := range s.lanes {
		g.Go(func() error { return l.run(gctx, abort, recalled) })
	}
	err = g.Wait()
	stopPublishers()
	return errors.Join(err, publishers.Wait())
}
