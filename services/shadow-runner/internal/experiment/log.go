package experiment

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Topic keeps the experiments in Kafka. It is safe for concurrent use.
type Topic struct {
	sender   *kafka.Sender
	source   string
	producer string
	now      func() time.Time

	mu       sync.Mutex
	sequence uint64
}

// NewTopic returns a log over a sender, which stays the caller's; source is the CloudEvents source.
func NewTopic(sender *kafka.Sender, source string, now func() time.Time) *Topic {
	return &Topic{sender: sender, source: source, producer: uuid.NewString(), now: now}
}

// Append implements Log: it returns once all replicas have the record. The topic has one partition, so all read its records in the
// same order. A record that is written twice is no fault, since the revision tells.
func (t *Topic) Append(ctx context.Context, e *foreshadowv1.Experiment) error {
	value, err := proto.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode experiment: %w", err)
	}
	t.mu.Lock()
	t.sequence++
	sequence := t.sequence
	t.mu.Unlock()
	return t.sender.SendRaw(ctx, []kafka.RawMessage{{
		Topic: kafka.TopicExperimentRecorded, Key: e.GetExperimentId(), Value: value,
		Meta: kafka.Meta{
			ID: kafka.EventID(t.producer, sequence), Type: string(e.ProtoReflect().Descriptor().FullName()), Source: t.source,
			Time: t.now(), ProducerID: t.producer, Sequence: sequence,
		},
	}})
}
