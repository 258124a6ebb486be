package shadowrunner

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// recallAll reads what earlier runs have published and then closes recalled: a restart must not take an instance out of the
// replay to measure what is known, and goes on with the experiments where they were.
func (s *Service) recallAll(ctx context.Context, recalled chan<- struct{}) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.recall(gctx, kafka.TopicCapacityMeasured, func(r kafka.Record) error {
			var m foreshadowv1.CapacityMeasured
			if err := r.Decode(&m); err != nil {
				return err
			}
			if l := s.lanes[m.GetWorkload()]; l != nil {
				l.recall(&m, time.Now())
			}
			return nil
		})
	})
	g.Go(func() error {
		return s.recall(gctx, kafka.TopicExperimentRecorded, func(r kafka.Record) error {
			var e foreshadowv1.Experiment
			if err := r.Decode(&e); err != nil {
				return err
			}
			s.experiments.Restore(&e)
			return nil
		})
	})
	err := g.Wait()
	if err == nil && ctx.Err() == nil {
		s.experiments.Recalled()
		close(recalled)
	}
	return err
}

// recall passes on all that the topic held when it began. A record that cannot be read is left out.
func (s *Service) recall(ctx context.Context, topic string, fn func(kafka.Record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return kafka.Tail(ctx, kafka.TailConfig{Kafka: s.deps.Kafka, Topic: topic, Logger: s.deps.Log, CaughtUp: cancel}, func(r kafka.Record) error {
		if err := fn(r); err != nil {
			s.deps.Log.Warn("record of an earlier run left out", "topic", topic, "err", err)
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
