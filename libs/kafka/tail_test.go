package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// tailing collects what Tail passes on.
type tailing struct {
	records  chan kafka.Record
	caughtUp chan int // how many records had been passed on by then
}

func startTail(t *testing.T, cfg kafka.TailConfig) *tailing {
	t.Helper()
	tt := &tailing{records: make(chan kafka.Record, 10000), caughtUp: make(chan int, 2)}
	cfg.CaughtUp = func() { tt.caughtUp <- len(tt.records) }
	background(t, func(ctx context.Context) error {
		return kafka.Tail(ctx, cfg, func(r kafka.Record) error { tt.records <- r; return nil })
	})
	return tt
}

func (tt *tailing) next(t *testing.T) kafka.Record {
	t.Helper()
	select {
	case r := <-tt.records:
		return r
	case <-deadline(t).Done():
		t.Fatal("no record")
		return kafka.Record{}
	}
}

func TestTailCatchesUpWithWhatWasThereAndFollowsOverARestart(t *testing.T) {
	t.Parallel()
	broker := kafkatest.NewBroker(t)
	cfg := broker.Config()
	topic := kafkatest.Topic(t, cfg, 3)
	publishAll(t, cfg, topic, 300)
	tt := startTail(t, kafka.TailConfig{Kafka: cfg, Topic: topic})
	if got := <-tt.caughtUp; got != 300 {
		t.Errorf("caught up after %d records, want 300", got)
	}
	broker.Stop()
	broker.Start()
	publishAll(t, cfg, topic, 100)
	dedup := kafka.NewDedup(100)
	for range 400 {
		if r := tt.next(t); !dedup.First(r) {
			t.Errorf("record %s passed on twice", r.Meta.ID)
		}
	}
	select {
	case <-tt.caughtUp:
		t.Error("caught up twice")
	default:
	}
}

func TestTailFromLatestAndFromATime(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	p := newPublisher(t, publisherConfig(cfg, topic))
	background(t, p.Run)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	publish := func(n int64) {
		p.PublishEvent(kafka.Event[number]{Key: "key", Message: wrapperspb.Int64(n), Time: start.Add(time.Duration(n) * time.Minute)})
		if err := p.Flush(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range int64(5) {
		publish(n)
	}
	latest := startTail(t, kafka.TailConfig{Kafka: cfg, Topic: topic, From: kafka.Latest()})
	since := startTail(t, kafka.TailConfig{Kafka: cfg, Topic: topic, From: kafka.Since(start.Add(3 * time.Minute))})
	if got := <-latest.caughtUp; got != 0 {
		t.Errorf("latest passed on %d old records", got)
	}
	if got := <-since.caughtUp; got != 2 {
		t.Errorf("since passed on %d records before it had caught up, want 2", got)
	}
	publish(5)
	if got := decode(t, latest.next(t)); got != 5 {
		t.Errorf("latest began with %d, want 5", got)
	}
	for want := int64(3); want <= 5; want++ {
		if got := decode(t, since.next(t)); got != want {
			t.Errorf("since passed on %d, want %d", got, want)
		}
	}
	future := startTail(t, kafka.TailConfig{Kafka: cfg, Topic: topic, From: kafka.Since(start.Add(time.Hour))})
	if got := <-future.caughtUp; got != 0 {
		t.Errorf("a time after all records passed on %d", got)
	}
}

func TestTailLeavesOutRecordsWithoutAnEnvelopeAndEndsWithTheFunctionsError(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	produceBare(t, cfg, topic, "no envelope")
	publishAll(t, cfg, topic, 1)
	enough := errors.New("enough")
	err := kafka.Tail(deadline(t), kafka.TailConfig{Kafka: cfg, Topic: topic}, func(r kafka.Record) error {
		if r.Offset != 1 {
			t.Errorf("record at offset %d passed on", r.Offset)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("Tail returned %v", err)
	}
}

func TestTailWaitsForATopicThatComesLater(t *testing.T) {
	t.Parallel()
	cfg := kafkatest.NewBroker(t).Config()
	tt := startTail(t, kafka.TailConfig{Kafka: cfg, Topic: t.Name()})
	topic := kafkatest.TopicFrom(t, cfg, kafka.Topic{Name: t.Name(), Partitions: 2})
	publishAll(t, cfg, topic, 10)
	for range 10 {
		tt.next(t)
	}
}

// Of a key written often a compacted topic holds the newest records only, and who reads it from the beginning meets the gaps.
func TestACompactedTopicIsReadInAFewRecords(t *testing.T) {
	t.Parallel()
	cfg := kafkatest.NewBroker(t, func(b *embedded.BrokerConfig) { b.CleanInterval = 20 * time.Millisecond }).Config()
	topic := kafkatest.TopicFrom(t, cfg, kafka.Topic{Partitions: 1, Retention: time.Hour, Compacted: true})
	p := newPublisher(t, publisherConfig(cfg, topic))
	background(t, p.Run)
	const n = 50
	for i := range int64(n) {
		p.Publish("often", wrapperspb.Int64(i))
		if i == 3 {
			p.Publish("once", wrapperspb.Int64(1000))
		}
		if err := p.Flush(deadline(t)); err != nil { // each alone, so that there is something to compact
			t.Fatal(err)
		}
	}
	for ctx := deadline(t); ; {
		held := map[string][]int64{}
		reading, caughtUp := context.WithCancel(ctx)
		err := kafka.Tail(reading, kafka.TailConfig{Kafka: cfg, Topic: topic, CaughtUp: caughtUp}, func(r kafka.Record) error {
			held[r.Key] = append(held[r.Key], decode(t, r))
			return nil
		})
		caughtUp()
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%v, %v; held %v", err, ctx.Err(), held)
		}
		often, once := held["often"], held["once"]
		if len(once) != 1 || len(often) == 0 || often[len(often)-1] != n-1 {
			t.Fatalf("held %v", held)
		}
		if len(often) <= 2 {
			return
		}
	}
}
