package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// number is the event of these tests.
type number = *wrapperspb.Int64Value

func publisherConfig(cfg kafka.Config, topic string) kafka.PublisherConfig {
	pc := kafka.DefaultPublisherConfig()
	pc.Kafka, pc.Topic, pc.Source = cfg, topic, "/test"
	return pc
}

func newPublisher(t testing.TB, cfg kafka.PublisherConfig) *kafka.Publisher[number] {
	t.Helper()
	p, err := kafka.NewPublisher[number](cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// background runs a service for the test, and stops it when stop is called or the test ends.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var done bool
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func newConsumer(t testing.TB, cfg kafka.Config, topic string, sink kafka.Sink) *kafka.Consumer {
	t.Helper()
	c, err := kafka.NewConsumer(consumerConfig(cfg, topic), sink)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func consumerConfig(cfg kafka.Config, topic string) kafka.ConsumerConfig {
	cc := kafka.DefaultConsumerConfig()
	cc.Kafka, cc.Group, cc.Topics = cfg, "group-"+topic, []string{topic}
	return cc
}

// publishAll offers 0..n-1, spread over keys, and waits until they are published.
func publishAll(t testing.TB, cfg kafka.Config, topic string, n int) {
	t.Helper()
	p := newPublisher(t, publisherConfig(cfg, topic))
	stop := background(t, p.Run)
	for i := range n {
		if !p.Publish(fmt.Sprintf("key-%d", i%7), wrapperspb.Int64(int64(i))) {
			t.Fatalf("message %d dropped: %v", i, p.Ledger())
		}
	}
	if err := p.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	stop()
}

// deadline bounds a wait of a test; it is far above what the wait takes.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func decode(t testing.TB, r kafka.Record) int64 {
	t.Helper()
	var v wrapperspb.Int64Value
	if err := r.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v.Value
}

// wantEach checks that the records are 0..n-1, each once, and in order within each key.
func wantEach(t testing.TB, records []kafka.Record, n int) {
	t.Helper()
	seen := make(map[int64]int, n)
	last := map[string]int64{}
	for _, r := range records {
		v := decode(t, r)
		seen[v]++
		if prev, ok := last[r.Key]; ok && v <= prev {
			t.Errorf("key %s: %d came after %d", r.Key, v, prev)
		}
		last[r.Key] = v
	}
	for i := range int64(n) {
		if seen[i] != 1 {
			t.Errorf("message %d was read %d times", i, seen[i])
		}
	}
	if len(records) != n {
		t.Errorf("read %d records, want %d", len(records), n)
	}
}

// wantBalance checks the ledger's equation.
func wantBalance(t testing.TB, l kafka.Ledger) {
	t.Helper()
	sum := l.Published + l.Pending
	for _, n := range l.Dropped {
		sum += n
	}
	if sum != l.Offered {
		t.Errorf("ledger does not balance: %+v", l)
	}
}

func sharedBroker(t testing.TB) kafka.Config { return kafkatest.Config(embeddedtest.Broker(t)) }
