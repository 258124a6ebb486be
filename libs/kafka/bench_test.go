package kafka_test

import (
	"context"
	"testing"

	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BenchmarkPublish is what the caller pays: encode and enqueue, or drop when the queue is full.
func BenchmarkPublish(b *testing.B) {
	p := newPublisher(b, publisherConfig(kafkatest.Config("127.0.0.1:1"), "nowhere"))
	message := wrapperspb.Int64(1)
	b.ReportAllocs()
	for b.Loop() {
		p.Publish("key", message)
	}
}

// BenchmarkPublishedEndToEnd is the rate at which messages are acknowledged by the embedded broker.
func BenchmarkPublishedEndToEnd(b *testing.B) {
	cfg := sharedBroker(b)
	topic := kafkatest.Topic(b, cfg, 6)
	p := newPublisher(b, publisherConfig(cfg, topic))
	background(b, p.Run)
	for b.Loop() {
		for !p.Publish("key", wrapperspb.Int64(1)) {
			if err := p.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := p.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
}
