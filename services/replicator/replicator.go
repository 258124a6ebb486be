package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
	"github.com/foreshadow/foreshadow/services/replicator/internal/budget"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/proxy"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

const (
	// ObservationsHop names the ledger of observations.
	ObservationsHop = "replicator/observations"

	partInstances = "instances"
	partCapture   = "capture"
	setAside      = 500 * time.Millisecond
	// captureLinger gathers copies. Each produce request costs as much CPU as copying ten requests does, and there is one per
	// partition; copies are due in the shadow only after a second.
	captureLinger     = 100 * time.Millisecond
	observationLinger = 5 * time.Millisecond
)

// Instances reports where production runs.
type Instances interface {
	// Watch calls fn with the state at once and on each change, until ctx ends. It reconnects by itself; while the platform
	// does not report, fn gets the error once, and what was known before still holds.
	Watch(ctx context.Context, group string, fn func(platform.State, error))
}

// Deps is what the service is given. All are required but Log.
type Deps struct {
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Admin     *telemetry.Admin
	Workloads []workload.Workload
	Kafka     kafka.Config
	Instances Instances
}

// Service is the replicator.
type Service struct {
	cfg          Config
	deps         Deps
	workload     workload.Workload
	captured     *kafka.Publisher[*foreshadowv1.CapturedRequest]
	observations *kafka.Publisher[*foreshadowv1.MetricsObserved]
	accumulator  *observe.Accumulator
	pool         *balance.Pool
	tap          *tap.Tap
	metrics      *proxy.Metrics
	ready        prometheus.Gauge
	source       source
	listening    net.Listener
	budget       *budget.Budget
	reloading    sync.Mutex
}

// New checks the configuration and wires the parts; it starts nothing, and reads no more than the
// databases that the tap's configuration names.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w, err := cfg.pick(deps.Workloads)
	if err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, deps: deps, workload: w, accumulator: observe.NewAccumulator(time.Now)}
	if s.captured, err = newPublisher[*foreshadowv1.CapturedRequest](s, kafka.TopicTrafficCaptured, cfg.QueueBytes, captureLinger); err != nil {
		return nil, err
	}
	if s.observations, err = newPublisher[*foreshadowv1.MetricsObserved](s, kafka.TopicMetricsObserved, cfg.ObservationQueueBytes, observationLinger); err != nil {
		return nil, err
	}
	s.pool = balance.NewPool(balance.Config{ConnectTimeout: cfg.ConnectTimeout, SetAside: setAside, MaxWaiting: cfg.MaxWaiting})
	s.budget = budget.New(cfg.CPUBudget)
	if s.tap, err = tap.New(s.tapConfig(cfg, w)); err != nil {
		return nil, fmt.Errorf("workload %s: %w", w.Name, err)
	}
	if w.Tap.SampleKey == "" {
		deps.Log.Warn("tap.sample_key is not set: pseudonyms and sample change with each start", "workload", w.Name)
	}
	if s.metrics, err = proxy.NewMetrics(deps.Registry); err != nil {
		return nil, err
	}
	if err := s.registerGauges(); err != nil {
		return nil, err
	}
	deps.Admin.AddLedger(s.tap.Ledger)
	deps.Admin.AddLedger(s.observationLedger)
	if s.source, err = s.newSource(); err != nil {
		return nil, err
	}
	return s, nil
}

func newPublisher[M proto.Message](s *Service, topic string, queueBytes int, linger time.Duration) (*kafka.Publisher[M], error) {
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.QueueBytes, cfg.Linger = s.deps.Kafka, topic, queueBytes, linger
	cfg.Source = "/replicator/" + s.workload.Name
	cfg.Registerer, cfg.Logger = s.deps.Registry, s.deps.Log
	return kafka.NewPublisher[M](cfg)
}

func (s *Service) registerGauges() error {
	s.ready = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "foreshadow_replicator_ready_instances", Help: "Instances that get requests.",
	})
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foreshadow_replicator_in_flight_requests", Help: "Requests that have arrived and not ended.",
	}, func() float64 { return float64(s.accumulator.InFlight()) })
	share := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foreshadow_replicator_sample_share_ratio", Help: "Part of the sample that is copied; below 1 the CPU budget sheds the rest.",
	}, s.budget.Share)
	for _, c := range []prometheus.Collector{s.ready, inFlight, share} {
		if err := s.deps.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics of the replicator: %w", err)
		}
	}
	return s.registerSample()
}

func (s *Service) observationLedger() metric.Ledger {
	l := s.observations.Ledger()
	return metric.Ledger{Hop: ObservationsHop, Seen: l.Offered, Passed: l.Published, Dropped: l.Dropped, Pending: l.Pending}
}

// Run captures by the configured way in until ctx ends, or until what it reads has ended; see Serve.
func (s *Service) Run(ctx context.Context) error {
	ln, err := s.listener(ctx)
	if err != nil {
		return err
	}
	return s.Serve(ctx, ln)
}

// Serve is Run for a listener of the caller's, which it closes; ways in that are no servers take nil. At the end open
// requests may finish within DrainTimeout, the last and partial second is observed, and both queues are emptied as far as
// the broker takes it. It is called once.
func (s *Service) Serve(ctx context.Context, ln net.Listener) error {
	if ln == nil && s.cfg.Capture.Mode.listens() || ln != nil && !s.cfg.Capture.Mode.listens() {
		return errListener
	}
	s.listening = ln
	// Publishing outlives the requests, and the platform's reports the arrival of new ones.
	background := context.WithoutCancel(ctx)
	publishing, stopPublishing := context.WithCancel(background)
	watching, stopWatching := context.WithCancel(background)
	defer stopWatching()
	defer stopPublishing()

	var publishers, others errgroup.Group
	publishers.Go(func() error { return s.captured.Run(publishing) })
	publishers.Go(func() error { return s.observations.Run(publishing) })
	sender := &observe.Sender{
		Accumulator: s.accumulator, Workload: s.workload.Name, Publish: s.observations.Publish, Log: s.deps.Log,
		Figure: s.figure,
	}
	others.Go(func() error { sender.Run(watching); return nil })
	others.Go(func() error { s.budget.Run(watching); return nil })
	if s.cfg.Capture.Mode == ModeProxy {
		others.Go(func() error { s.watch(watching); return nil })
	}

	s.deps.Log.Info("production traffic is tapped", "workload", s.workload.Name, "mode", string(s.cfg.Capture.Mode))
	err := s.source.Run(ctx)

	stopWatching()
	err = errors.Join(err, others.Wait())
	s.pool.Close()
	sender.Drain()
	stopPublishing()
	return errors.Join(err, publishers.Wait())
}

// serveProxy runs the proxy until ctx ends and returns when the last request has ended.
func (s *Service) serveProxy(ctx context.Context) error {
	requests, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	handler := proxy.New(requests, proxy.Config{
		WaitReady: s.cfg.WaitReady, TrustForwarded: s.cfg.TrustForwarded, SLOLatency: s.workload.SLO.Latency,
	}, s.pool, s.tap, s.metrics)
	err := s.serveFront(ctx, requests, cutOff, handler)
	cutOff()
	handler.Wait()
	return err
}

// serveFront puts the short way in front of net/http, unless the configuration does without.
func (s *Service) serveFront(ctx, requests context.Context, cutOff func(), handler *proxy.Handler) error {
	door := s.door(2) // a client's, and one to an instance
	server := s.server(requests, door, handler)
	// At the end whoever is about to ask is still answered, and told that it was the last time, before net/http closes what is idle.
	grace := s.cfg.DrainTimeout / 10
	accepting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { handler.LastCall(); door.Shut(); door.Empty(grace); end() })()
	if !s.cfg.ShortWay {
		return telemetry.ServeHTTPAndCut(accepting, door, server, s.cfg.DrainTimeout-grace, cutOff)
	}
	front := proxy.NewFront(handler, door, proxy.Limits{
		HeaderTimeout: s.cfg.HeaderTimeout, IdleTimeout: s.cfg.IdleTimeout, MaxHeaderBytes: s.cfg.MaxHeaderBytes, LastCall: grace,
	}, s.deps.Log)
	serving, stop := context.WithCancel(ctx)
	var fronts sync.WaitGroup
	fronts.Go(func() { front.Run(serving, s.cfg.DrainTimeout, cutOff) })
	err := telemetry.ServeHTTPAndCut(accepting, front, server, s.cfg.DrainTimeout-grace, cutOff)
	stop()
	fronts.Wait()
	return err
}

// door lets in as many clients as there are file descriptors for, when each takes so many.
func (s *Service) door(each int) *proxy.Door {
	door := proxy.NewDoor(s.listening, places(descriptors(), each))
	door.Crowded = func(err error) { s.deps.Log.Error("connections are not served", "err", err) }
	return door
}

// places is how many clients can be served with so many file descriptors. Some are the process's own, for the broker, the platform
// and the admin pages.
func places(descriptors uint64, each int) int {
	const most = 1 << 30
	if descriptors == 0 || descriptors > most {
		return most
	}
	return int(descriptors-min(64, descriptors/4)) / each
}

// server serves what comes through a door; the context of requests is theirs.
func (s *Service) server(requests context.Context, door *proxy.Door, handler http.Handler) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: handler, Protocols: protocols, DisableGeneralOptionsHandler: true, ConnState: door.Note,
		// Bodies and responses have no time limit: streams are requests, too.
		ReadHeaderTimeout: s.cfg.HeaderTimeout, IdleTimeout: s.cfg.IdleTimeout, MaxHeaderBytes: s.cfg.MaxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		// net/http logs each malformed request and each cut connection, which is a client's choice.
		ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}
}

// watch follows the platform until ctx ends.
func (s *Service) watch(ctx context.Context) {
	s.deps.Instances.Watch(ctx, s.workload.Production.Group, func(state platform.State, err error) {
		if err != nil {
			s.deps.Log.Warn("platform does not report, keeping the instances it reported last", "workload", s.workload.Name, "err", err)
			return
		}
		s.update(state)
	})
}

func (s *Service) update(state platform.State) {
	n := s.pool.Update(state)
	s.ready.Set(float64(n))
	if n == 0 {
		s.deps.Admin.NotReady(partInstances, "no instance of group "+s.workload.Production.Group+" is ready")
		return
	}
	s.deps.Admin.Ready(partInstances)
}
