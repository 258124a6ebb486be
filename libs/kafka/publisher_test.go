package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestPublishedRecordsArriveInOrderWithTheirEnvelope(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 3)
	p := newPublisher(t, publisherConfig(cfg, topic))
	background(t, p.Run)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p.PublishEvent(kafka.Event[number]{Key: "key-0", Message: wrapperspb.Int64(0), Time: at, Traceparent: trace})
	const n = 5000
	for i := 1; i < n; i++ {
		p.Publish(fmt.Sprintf("key-%d", i%7), wrapperspb.Int64(int64(i)))
	}
	if err := p.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kafka.Ledger{Offered: n, Published: n, Dropped: map[string]uint64{}}, p.Ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	records := readTopic(t, cfg, topic)
	wantEach(t, records, n)
	for _, r := range records {
		if decode(t, r) != 0 {
			continue
		}
		want := kafka.Meta{
			ID: p.ProducerID() + "/1", Type: "google.protobuf.Int64Value", Source: "/test", Time: at,
			ProducerID: p.ProducerID(), Sequence: 1, Traceparent: trace,
		}
		if diff := cmp.Diff(want, r.Meta); diff != "" {
			t.Errorf("envelope (-want +got):\n%s", diff)
		}
	}
}

// readTopic reads what a topic holds now.
func readTopic(t testing.TB, cfg kafka.Config, topic string) []kafka.Record {
	t.Helper()
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	var records []kafka.Record
	tail := kafka.TailConfig{Kafka: cfg, Topic: topic, CaughtUp: cancel}
	if err := kafka.Tail(ctx, tail, func(r kafka.Record) error { records = append(records, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return records
}

func TestDeadBrokerNeverBlocksAndTheLedgerBalances(t *testing.T) {
	t.Parallel()
	cfg := publisherConfig(kafkatest.Config("127.0.0.1:1"), "nowhere")
	cfg.MaxMessageBytes = 1 << 10
	cfg.QueueBytes = 100 << 10
	cfg.DrainTimeout = 50 * time.Millisecond
	p := newPublisher(t, cfg)
	stop := background(t, p.Run)
	const writers, each = 4, 500
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range each {
				p.Publish("key", wrapperspb.Int64(int64(i)))
				wantBalance(t, p.Ledger())
			}
		})
	}
	group.Wait()
	if ok := p.Publish("key", nil); ok {
		t.Error("nil message accepted")
	}
	if l := p.Ledger(); l.Pending == 0 || l.Dropped[kafka.ReasonQueueFull] == 0 || l.Published != 0 {
		t.Errorf("want a full queue, got %+v", l)
	}
	stop()
	l := p.Ledger()
	wantBalance(t, l)
	if l.Pending != 0 || l.Dropped[kafka.ReasonShutdown] == 0 || l.Dropped[kafka.ReasonEncode] != 1 {
		t.Errorf("after the stop: %+v", l)
	}
	if p.Publish("key", wrapperspb.Int64(1)) || p.Ledger().Dropped[kafka.ReasonClosed] != 1 {
		t.Errorf("message taken after the stop: %+v", p.Ledger())
	}
}

func TestTooLargeIsDroppedWhetherHereOrByTheBroker(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	pc := publisherConfig(cfg, topic)
	pc.MaxMessageBytes = 3 << 20 // above what the broker takes, so that both limits are met
	p, err := kafka.NewPublisher[*wrapperspb.StringValue](pc)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{10, 4 << 20, 2 << 20, 20} {
		p.Publish("key", wrapperspb.String(strings.Repeat("x", size)))
	}
	background(t, p.Run)
	if err := p.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	want := kafka.Ledger{Offered: 4, Published: 2, Dropped: map[string]uint64{kafka.ReasonTooLarge: 2}}
	if diff := cmp.Diff(want, p.Ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if got := len(readTopic(t, cfg, topic)); got != 2 {
		t.Errorf("read %d records, want 2", got)
	}
}

func TestStopDrainsTheQueue(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 2)
	p := newPublisher(t, publisherConfig(cfg, topic))
	const n = 20000 // several chunks
	for i := range n {
		p.Publish(fmt.Sprintf("key-%d", i%7), wrapperspb.Int64(int64(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if l := p.Ledger(); l.Published != n {
		t.Errorf("drained %+v, want all %d published", l, n)
	}
	wantEach(t, readTopic(t, cfg, topic), n)
}

func TestBrokerRestartsLoseNothing(t *testing.T) {
	t.Parallel()
	broker := kafkatest.NewBroker(t)
	cfg := broker.Config()
	topic := kafkatest.Topic(t, cfg, 3)
	sink := kafkatest.NewSink()
	background(t, newConsumer(t, cfg, topic, sink).Run)
	p := newPublisher(t, publisherConfig(cfg, topic))
	background(t, p.Run)
	const rounds, each = 3, 3000
	for round := range rounds {
		for i := range each {
			p.Publish(fmt.Sprintf("key-%d", i%7), wrapperspb.Int64(int64(round*each+i)))
		}
		broker.Stop() // with slices in flight
		broker.Start()
	}
	if err := p.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := sink.Await(deadline(t), rounds*each); err != nil {
		t.Fatalf("%v: %d records after the restarts, ledger %+v", err, len(sink.Records()), p.Ledger())
	}
	wantEach(t, sink.Records(), rounds*each)
}

func TestLostAcknowledgementsAreSentAgainAndRecognised(t *testing.T) {
	t.Parallel()
	broker, proxy := kafkatest.NewBrokerBehind(t)
	cfg := broker.Config()
	topic := kafkatest.Topic(t, cfg, 3)
	const lost, n = 5, 20000
	proxy.LoseAcks(lost)
	publishAll(t, cfg, topic, n)
	if left := proxy.LoseAcks(0); left != 0 {
		t.Fatalf("only %d of %d acknowledgements were lost: the test proves nothing", lost-left, lost)
	}
	sink := kafkatest.NewSink()
	background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), n); err != nil {
		t.Fatal(err)
	}
	if sink.Copies() == 0 {
		t.Error("slices with lost acknowledgements were not sent again")
	}
	wantEach(t, sink.Records(), n)
}

func TestSenderPublishesAndNamesWhatIsRejected(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 2)
	sender, err := kafka.NewSender(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	messages := make([]kafka.RawMessage, 5)
	for i := range messages {
		messages[i] = rawNumber(t, topic, uint64(i+1))
	}
	messages[3].Value = make([]byte, 2<<20)
	err = sender.SendRaw(deadline(t), messages)
	var rejected *kafka.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Messages) != 1 || rejected.Messages[0].Index != 3 || rejected.Messages[0].Reason != kafka.ReasonTooLarge {
		t.Fatalf("error %v, want message 3 rejected as too large", err)
	}
	if got := len(readTopic(t, cfg, topic)); got != 4 {
		t.Errorf("read %d records, want the other 4", got)
	}
	messages[0].Meta.ID = ""
	if err := sender.SendRaw(deadline(t), messages[:1]); err == nil || !strings.Contains(err.Error(), "ce_id") {
		t.Errorf("message without an id: %v", err)
	}
}

func TestSenderGivesUpWithItsContextAndNamesTheBroker(t *testing.T) {
	t.Parallel()
	sender, err := kafka.NewSender(kafkatest.Config("127.0.0.1:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = sender.SendRaw(ctx, []kafka.RawMessage{rawNumber(t, "nowhere", 1)})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v, want the deadline and the broker's address", err)
	}
}

func TestPublisherMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	cfg := publisherConfig(kafkatest.Config("127.0.0.1:1"), "topic.v1")
	cfg.Registerer = registry
	p := newPublisher(t, cfg)
	p.Publish("key", nil)
	p.Publish("k", wrapperspb.Int64(1))
	// The names and labels are API.
	const want = `
# HELP foreshadow_kafka_dropped_total Messages offered for publishing and given up.
# TYPE foreshadow_kafka_dropped_total counter
foreshadow_kafka_dropped_total{reason="closed",topic="topic.v1"} 0
foreshadow_kafka_dropped_total{reason="encode",topic="topic.v1"} 1
foreshadow_kafka_dropped_total{reason="queue_full",topic="topic.v1"} 0
foreshadow_kafka_dropped_total{reason="rejected",topic="topic.v1"} 0
foreshadow_kafka_dropped_total{reason="shutdown",topic="topic.v1"} 0
foreshadow_kafka_dropped_total{reason="too_large",topic="topic.v1"} 0
# HELP foreshadow_kafka_published_total Messages acknowledged by all in-sync replicas.
# TYPE foreshadow_kafka_published_total counter
foreshadow_kafka_published_total{topic="topic.v1"} 0
# HELP foreshadow_kafka_queue_bytes Bytes queued or in flight.
# TYPE foreshadow_kafka_queue_bytes gauge
foreshadow_kafka_queue_bytes{topic="topic.v1"} 515
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if _, err := kafka.NewPublisher[number](cfg); err == nil {
		t.Error("two publishers to one topic share a registry")
	}
}

func TestPublisherConfigValidate(t *testing.T) {
	t.Parallel()
	err := kafka.PublisherConfig{Linger: -1}.Validate()
	for _, want := range []string{"brokers", "topic", "source", "queue_bytes", "linger"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
