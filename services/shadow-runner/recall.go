package shadowrunner

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// recallAll reads what earlier runs, and other runners, have published, and then closes recalled: a restart must not take an instance
// out of the replay to measure what is known, and goes on with the experiments where they were. It goes on reading: who takes the seat
// over knows what was measured until then.
func (s *Service) recallAll(ctx context.Context, recalled chan<- struct{}) error {
	g, gctx := errgroup.WithContext(ctx)
	experiments, capacities := make(chan struct{}), make(chan struct{})
	g.Go(func() error {
		return s.follow(gctx, kafka.TopicExperimentRecorded, func() { close(experiments) }, func(r kafka.Record) error {
			var e foreshadowv1.Experiment
			if err := r.Decode(&e); err != nil {
				return err
			}
			s.experiments.Restore(&e)
			return nil
		})
	})
	g.Go(func() error {
		return s.follow(gctx, kafka.TopicCapacityMeasured, func() { close(capacities) }, func(r kafka.Record) error {
			var m foreshadowv1.CapacityMeasured
			if err := r.Decode(&m); err != nil {
				return err
			}
			if l := s.lanes[m.GetWorkload()]; l != nil {
				l.known.recall(&m, l.slo(), time.Now())
			}
			return nil
		})
	})
	g.Go(func() error {
		for _, known := range []chan struct{}{experiments, capacities} {
			select {
			case <-gctx.Done():
				return nil
			case <-known:
			}
		}
		s.experiments.Recalled()
		close(recalled)
		s.keepExperiments(gctx)
		return nil
	})
	return g.Wait()
}

// keepExperiments tells other runners that what is carried out here still is, and ends what nobody can carry out.
func (s *Service) keepExperiments(ctx context.Context) {
	const times = 6 // in a lease
	for pace.Timer(ctx, time.Now().Add(experiment.DefaultLease/times)) == nil {
		if err := s.experiments.Renew(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.Warn("experiment not renewed", "err", err)
		}
		s.endStranded(ctx)
	}
}

// endStranded ends an experiment whose workload was taken out of the configuration: it would keep all others waiting. That is for who
// has the seat, and after some time, for of two runners one may have a newer configuration.
func (s *Service) endStranded(ctx context.Context) {
	if mine, _ := s.seat.look(); !mine {
		return
	}
	workload, ok := s.experiments.Stranded(func(w string) bool { return s.lanes[w] != nil }, patience)
	if !ok {
		return
	}
	job, _, ok := s.experiments.Take(ctx, workload)
	if !ok {
		return
	}
	if _, err := s.experiments.Finish(ctx, job.ID, fmt.Sprintf("workload %q is not configured any more", workload), ""); err != nil {
		s.deps.Log.Warn("experiment waits to be recorded", "experiment", job.ID, "err", err)
		return
	}
	s.deps.Log.Warn("experiment ended, its workload is not configured", "experiment", job.ID, "workload", workload)
}

// follow passes on what the topic holds and what comes, until ctx ends; caughtUp is called once all is passed on that it held at the
// beginning. A record that cannot be read is left out.
func (s *Service) follow(ctx context.Context, topic string, caughtUp func(), fn func(kafka.Record) error) error {
	return kafka.Tail(ctx, kafka.TailConfig{Kafka: s.deps.Kafka, Topic: topic, Logger: s.deps.Log, CaughtUp: caughtUp}, func(r kafka.Record) error {
		if err := fn(r); err != nil {
			s.deps.Log.Warn("record of a runner left out", "topic", topic, "err", err)
		}
		return nil
	})
}

// pingEvery is how often the broker is looked after.
const pingEvery = 2 * time.Second

// watchBroker reports whether the broker can be reached; consumer and publishers retry by themselves.
func (s *Service) watchBroker(ctx context.Context) {
	const part = "kafka"
	away := false
	for {
		err := kafka.Ping(ctx, s.deps.Kafka)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.deps.Admin.NotReady(part, err.Error())
			if !away {
				s.deps.Log.Warn("broker is away", "err", err)
			}
		default:
			s.deps.Admin.Ready(part)
			if away {
				s.deps.Log.Info("broker is back")
			}
		}
		away = err != nil
		if pace.Timer(ctx, time.Now().Add(pingEvery)) != nil {
			return
		}
	}
}
