package shadowrunner

import (
	"context"
	"errors"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// recall reads the capacities of earlier runs and then closes recalled: a restart must not take an instance out of the
// replay to measure what is known.
func (s *Service) recall(ctx context.Context, recalled chan<- struct{}) error {
	errDone := errors.New("caught up")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := kafka.Tail(ctx, kafka.TailConfig{
		Kafka: s.deps.Kafka, Topic: kafka.TopicCapacityMeasured, Logger: s.deps.Log, CaughtUp: func() { cancel(errDone) },
	}, func(r kafka.Record) error {
		var m foreshadowv1.CapacityMeasured
		if err := r.Decode(&m); err != nil {
			s.deps.Log.Warn("capacity of an earlier run left out", "err", err)
			return nil
		}
		if l := s.lanes[m.GetWorkload()]; l != nil {
			l.recall(&m, time.Now())
		}
		return nil
	})
	if errors.Is(context.Cause(ctx), errDone) {
		close(recalled)
		return nil
	}
	return err
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
