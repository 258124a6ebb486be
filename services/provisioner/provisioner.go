// Package provisioner turns recommendations into changes of size, safely: each passes the guardrails of its workload, is
// carried out on the platform under its generation, is verified, and is recorded with what became of it.
//
//	scaling.recommended ──▶ production lane ──▶ platform        ProvisioningService: status, pause, approve, list
//	                   └──▶ shadow lane     ──▶ platform
//	                              └──▶ journal ──▶ scaling.applied
//	metrics.windowed ──▶ how users fare: what removed something is undone when they feel it
//
// Without recommendations nothing happens. It may be killed at any moment: what it must not forget is in the journal, what
// runs is known by the platform, and the next recommendation continues from there. Where several of them run one leads, by a
// lease; the others stand by and pass their clients on to it, and what a leader that was frozen still has under way is refused by
// the platform.
package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/shadowscaler"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/api"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/quality"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/record"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/relay"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/rollout"
)

// Platform is where the instances run; local.Client is one.
type Platform = rollout.Platform

// History lists actions of all times; foreshadowv1.HistoryServiceClient is one.
type History = api.History

// Deps is what the provisioner works with.
type Deps struct {
	Workloads []workload.Workload
	Kafka     kafka.Config
	Platform  Platform
	// History may be nil; actions are then listed since the start of the process.
	History  History
	Log      *slog.Logger
	Registry prometheus.Registerer
	Admin    *telemetry.Admin
	// RPC secures and bounds its server and clients; nil is plain text on loopback.
	RPC *rpc.Edge
	// Tracing records what was done about recommendations; nil records nothing.
	Tracing trace.TracerProvider
	// Now is the clock of the decisions; nil means time.Now.
	Now func() time.Time
	// Election is needed when Config.Lease has a name.
	Election Election
	// Declared are the ShadowScalers whose status is reported; nil when there are none.
	Declared *shadowscaler.Objects
}

// Service is the provisioner.
type Service struct {
	cfg             Config
	deps            Deps
	metrics         *record.Metrics
	relayed         *relay.Metrics // nil without a lease
	recommendations *metric.Book
	// following is called when recommendations come in; tests wait for it.
	following func()
	// listening is called with the address of one that contends; tests wait for it.
	listening func(address string)
}

// New checks the configuration; it does no I/O.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := errors.Join(cfg.Validate(), deps.Kafka.Validate()); err != nil {
		return nil, err
	}
	if cfg.Lease.Name != "" && deps.Election == nil {
		return nil, errors.New("provisioner.lease: needs a workload on Kubernetes")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	metrics, err := record.NewMetrics(deps.Registry)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, deps: deps, metrics: metrics, recommendations: metric.NewBook("provisioner/recommendations"),
		following: func() {}, listening: func(string) {},
	}
	if cfg.Lease.Name != "" {
		if s.relayed, err = relay.NewMetrics(deps.Registry); err != nil {
			return nil, err
		}
	}
	deps.Admin.AddLedger(s.recommendations.Ledger)
	return s, nil
}

// Run provisions until ctx ends. A change under way then is verified by the next process.
func (s *Service) Run(ctx context.Context) error {
	ln, err := s.deps.RPC.Listen(s.cfg.Listen)
	if err != nil {
		return err
	}
	if s.cfg.Lease.Name == "" {
		return s.serve(ctx, ln)
	}
	return s.contend(ctx, ln)
}

func (s *Service) serve(ctx context.Context, ln net.Listener) error {
	return s.serveTerm(ctx, ln, term{health: s.deps.Admin})
}

func (s *Service) serveTerm(ctx context.Context, ln net.Listener, t term) error {
	defer func() { _ = ln.Close() }()
	t.health.NotReady(recommended, fmt.Sprintf("waiting for topic %s at %v", kafka.TopicScalingRecommended, s.deps.Kafka.Brokers))
	s.deps.Admin.Ready(leadership)
	j, err := s.journal(t)
	if err != nil {
		return err
	}
	if err := rollout.Abandon(j, s.declared, s.deps.Now()); err != nil {
		s.deps.Log.Warn("changes of workloads that are gone stay under way", "err", err)
	}
	sender, err := kafka.NewSender(s.deps.Kafka, s.deps.Log)
	if err != nil {
		return err
	}
	defer sender.Close()
	recorder := record.New(sender, j, s.metrics, s.deps.Tracing, s.deps.Log)
	users, felt := quality.New(), rollout.Felt(j, s.watched, s.deps.Now())
	workloads := s.workloads(rollout.Deps{
		Platform: s.deps.Platform, Journal: j, Records: recorder, Health: t.health, Log: s.deps.Log, Now: s.deps.Now,
		Quality: users, Epoch: t.epoch,
	})
	server := s.deps.RPC.NewServer(s.deps.Log)
	foreshadowv1.RegisterProvisioningServiceServer(server, &api.API{
		Workloads: workloads, States: s.deps.Platform, Journal: j, History: s.deps.History, Memory: recorder, Now: s.deps.Now,
	})

	// The recorder outlives the lanes: what they complete last is published too.
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRecording()
	recorded := make(chan error, 1)
	go func() { recorded <- recorder.Run(recording) }()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx, ln) })
	var reporter *shadowscaler.Reporter
	if s.deps.Declared != nil {
		reporter = shadowscaler.NewReporter(s.deps.Declared, s.deps.Platform, s.deps.Workloads, s.deps.Log)
		g.Go(func() error { return reporter.Run(ctx) })
	}
	g.Go(func() error { return s.follow(ctx, t.health, workloads, reporter) })
	g.Go(func() error { return s.followUsers(ctx, users, felt) })
	g.Go(func() error { return s.keepCopies(ctx) })
	g.Go(func() error { return s.keepTrials(ctx) })
	for _, w := range workloads {
		g.Go(func() error { return w.Production.Run(ctx) })
		g.Go(func() error { return w.Shadow.Run(ctx) })
	}
	err = g.Wait()
	stopRecording()
	return errors.Join(err, <-recorded)
}

// declared says whether there is a workload of a name.
func (s *Service) declared(name string) bool {
	return slices.ContainsFunc(s.deps.Workloads, func(w workload.Workload) bool { return w.Name == name })
}

func (s *Service) workloads(deps rollout.Deps) map[string]api.Workload {
	out := map[string]api.Workload{}
	for _, w := range s.deps.Workloads {
		out[w.Name] = api.Workload{
			Declared: w, Production: rollout.Production(w, deps, s.settled), Shadow: rollout.Shadow(w, deps),
		}
	}
	return out
}

// settled books a recommendation.
func (s *Service) settled(reason string) {
	if reason == "" {
		s.recommendations.Pass(1)
		return
	}
	s.recommendations.Drop(reason, 1)
}

// recommended is the part of readiness that says whether recommendations come in.
const recommended = "recommendations"

// follow hands new recommendations to the lanes. Those from before the start are left alone: the predictor repeats what
// still holds.
func (s *Service) follow(ctx context.Context, health rollout.Health, workloads map[string]api.Workload, reporter *shadowscaler.Reporter) error {
	cfg := kafka.TailConfig{
		Kafka: s.deps.Kafka, Topic: kafka.TopicScalingRecommended, From: kafka.Latest(), Logger: s.deps.Log,
		CaughtUp: func() {
			health.Ready(recommended)
			s.following()
		},
	}
	err := kafka.Tail(ctx, cfg, func(rec kafka.Record) error {
		s.recommendations.See(1)
		r := &foreshadowv1.Recommendation{}
		if err := rec.Decode(r); err != nil {
			s.deps.Log.Warn("recommendation left out", "offset", rec.Offset, "err", err)
			s.recommendations.Drop("poison", 1)
			return nil
		}
		w, known := workloads[r.GetWorkload()]
		if !known {
			s.recommendations.Drop("unknown_workload", 1)
			return nil
		}
		w.Production.Offer(r)
		w.Shadow.Offer(r)
		if reporter != nil {
			reporter.Offer(r.GetWorkload(), summary(r))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("follow recommendations: %w", err)
	}
	return nil
}

// watched is how long the users of a workload are watched after a change.
func (s *Service) watched(name string) time.Duration {
	for _, w := range s.deps.Workloads {
		if w.Name == name {
			return w.Guardrails.Rollback.Within
		}
	}
	return 0
}

// followUsers keeps how users fare, and fared since a time. While the topic cannot be read nothing is rolled back, and nothing else
// waits for it.
func (s *Service) followUsers(ctx context.Context, users *quality.Tracker, since time.Time) error {
	cfg := kafka.TailConfig{
		Kafka: s.deps.Kafka, Topic: kafka.TopicMetricsWindowed, From: kafka.Since(since), Logger: s.deps.Log,
	}
	err := kafka.Tail(ctx, cfg, func(rec kafka.Record) error {
		m := &foreshadowv1.MetricsWindowed{}
		if err := rec.Decode(m); err != nil {
			s.deps.Log.Warn("window left out", "offset", rec.Offset, "err", err)
			return nil
		}
		users.Observe(m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("follow windows: %w", err)
	}
	return nil
}

// summary is a recommendation as the status of a ShadowScaler shows it.
func summary(r *foreshadowv1.Recommendation) shadowscaler.Recommendation {
	s := shadowscaler.Recommendation{
		ID: r.GetRecommendationId(), Instances: int(r.GetProduction().GetInstances()), ExpireTime: r.GetExpireTime().AsTime(),
		Policy: strings.ToLower(strings.TrimPrefix(r.GetPolicy().String(), "POLICY_")),
	}
	if reasons := r.GetReasons(); len(reasons) > 0 {
		s.Reason = reasons[0].GetText()
	}
	return s
}
