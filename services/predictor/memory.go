package predictor

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

const (
	// keepIntervals is how many decisions apart what was learnt is kept: what kill -9 takes.
	keepIntervals = 4
	// recallPatience is how long the first decision waits for what was kept. A broker that is away sends no windows either.
	recallPatience = 10 * time.Second
)

// memory keeps what the decisions have learnt in a compacted topic, and has the models go on from it at the start. A topic and
// not the database: the aggregator alone owns that, and nothing calls it but for reading. Of two predictors of a workload each
// goes on from its own, and the one that starts next from what was written last.
type memory struct {
	kafka     kafka.Config
	models    map[string]*model.Model
	publisher *kafka.Publisher[*foreshadowv1.ScalingRemembered]
	gauges    *gauges
	log       *slog.Logger
	now       func() time.Time
	// recalled is closed once what was kept has been read. Before that nothing is kept, for it would take its place.
	recalled chan struct{}
}

// newMemory takes the configuration of the publisher from that of the recommendations.
func newMemory(like kafka.PublisherConfig, models map[string]*model.Model, g *gauges) (*memory, error) {
	like.Topic = kafka.TopicScalingRemembered
	p, err := kafka.NewPublisher[*foreshadowv1.ScalingRemembered](like)
	if err != nil {
		return nil, fmt.Errorf("make publisher: %w", err)
	}
	return &memory{kafka: like.Kafka, models: models, publisher: p, gauges: g, log: like.Logger, now: like.Now, recalled: make(chan struct{})}, nil
}

// run recalls what was kept, and publishes what is to be kept until the last decision was made.
func (m *memory) run(ctx context.Context, predicting *sync.WaitGroup) error {
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	published := make(chan error, 1)
	go func() { published <- m.publisher.Run(publishing) }()
	err := m.recall(ctx)
	if err == nil {
		predicting.Wait()
	}
	stop()
	if end := <-published; err == nil {
		err = end
	}
	return err
}

// recall reads all that was kept and gives each model the newest that it can go on from. It returns early when ctx ends.
func (m *memory) recall(ctx context.Context) error {
	kept := map[string]*foreshadowv1.ScalingRemembered{}
	reading, caughtUp := context.WithCancel(ctx)
	defer caughtUp()
	cfg := kafka.TailConfig{Kafka: m.kafka, Topic: kafka.TopicScalingRemembered, CaughtUp: caughtUp, Logger: m.log}
	if err := kafka.Tail(reading, cfg, func(r kafka.Record) error {
		one := &foreshadowv1.ScalingRemembered{}
		if err := r.Decode(one); err != nil {
			m.log.Warn("memory left out", "partition", r.Partition, "offset", r.Offset, "err", err)
			return nil
		}
		if m.models[one.GetWorkload()] != nil {
			kept[one.GetWorkload()] = one // the records of a key keep their order
		}
		return nil
	}); err != nil {
		return fmt.Errorf("recall %s: %w", kafka.TopicScalingRemembered, err)
	}
	if ctx.Err() != nil {
		return nil
	}
	for name, model := range m.models {
		m.give(name, model, kept[name])
	}
	close(m.recalled)
	return nil
}

// give has a model go on from what was kept, which may be nothing.
func (m *memory) give(name string, to *model.Model, kept *foreshadowv1.ScalingRemembered) {
	if kept == nil {
		m.log.Info("no memory of an earlier run, learning anew", "workload", name)
		return
	}
	now := m.now()
	age := now.Sub(kept.GetCreateTime().AsTime())
	played, err := to.Recall(kept, now)
	if err != nil {
		m.log.Warn("memory left out, learning anew", "workload", name, "age_seconds", age.Seconds(), "err", err)
		return
	}
	m.gauges.recalled.WithLabelValues(name).Set(max(0, age.Seconds()))
	m.log.Info("going on from memory", "workload", name, "age_seconds", age.Seconds(), "played_seconds", played.Seconds(), "bytes", len(kept.GetState()))
}

// await waits until what was kept was read, but not for ever: what comes later is taken up then.
func (m *memory) await(ctx context.Context, name string) {
	patience := time.NewTimer(recallPatience)
	defer patience.Stop()
	select {
	case <-m.recalled:
	case <-ctx.Done():
	case <-patience.C:
		m.log.Warn("memory is away, deciding without it", "workload", name, "topic", kafka.TopicScalingRemembered)
	}
}

// keep publishes what a model has learnt, unless what was kept before has not been read.
func (m *memory) keep(name string) {
	select {
	case <-m.recalled:
	default:
		return
	}
	learnt, err := m.models[name].Memory()
	switch {
	case err != nil:
		m.log.Warn("memory not kept", "workload", name, "err", err)
	case learnt != nil:
		m.publisher.Publish(name, learnt)
	}
}
