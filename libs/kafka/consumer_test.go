package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func rawNumber(t testing.TB, topic string, n uint64) kafka.RawMessage {
	t.Helper()
	value, err := proto.Marshal(wrapperspb.Int64(int64(n)))
	if err != nil {
		t.Fatal(err)
	}
	return kafka.RawMessage{Topic: topic, Key: "key", Value: value, Meta: kafka.Meta{
		ID: kafka.EventID("raw", n), Type: "google.protobuf.Int64Value", Source: "/test",
		Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), ProducerID: "raw", Sequence: n,
	}}
}

func TestRebalanceWithAZombieCountsNothingTwice(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 4)
	const n = 4000
	publishAll(t, cfg, topic, n)

	sink := kafkatest.NewSink()
	// The first consumer stands still in the middle of a chunk, as after SIGSTOP, and then tries to commit it.
	zombieHolds, release := make(chan kafka.Chunk, 1), make(chan struct{})
	var once sync.Once
	var fenced atomic.Int32
	zombie := &zombieSink{Sink: sink, fenced: &fenced, before: func(chunk kafka.Chunk) {
		once.Do(func() {
			zombieHolds <- chunk
			<-release
		})
	}}
	stopZombie := background(t, newConsumer(t, cfg, topic, zombie).Run)
	held := <-zombieHolds

	// The rest of the group goes on: the zombie is asked to rejoin, does not, and loses its partitions.
	background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), n); err != nil {
		t.Fatalf("%v: %d of %d records while one member hangs", err, len(sink.Records()), n)
	}
	close(release)
	stopZombie()
	if fenced.Load() == 0 {
		t.Errorf("zombie's chunk %d..%d of partition %d was not fenced", held.From, held.Next, held.Partition)
	}
	wantEach(t, sink.Records(), n)
	if sink.Copies() != 0 {
		t.Errorf("%d records were committed twice and only found by sequence", sink.Copies())
	}
}

// zombieSink calls before ahead of each commit, and commits whatever its context says.
type zombieSink struct {
	*kafkatest.Sink
	before func(kafka.Chunk)
	fenced *atomic.Int32
}

func (s *zombieSink) HandleChunk(ctx context.Context, chunk kafka.Chunk) error {
	s.before(chunk)
	err := s.Sink.HandleChunk(context.WithoutCancel(ctx), chunk)
	if errors.Is(err, kafka.ErrFenced) {
		s.fenced.Add(1)
	}
	return err
}

func TestFencedOwnerReloadsAndGoesOn(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	publishAll(t, cfg, topic, 10)
	sink := kafkatest.NewSink()
	var once sync.Once
	sink.Before = func(context.Context, kafka.Chunk) error {
		once.Do(func() { sink.SetOffset(topic, 0, 6) }) // somebody commits 0..5 in between
		return nil
	}
	background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), 4); err != nil {
		t.Fatal(err)
	}
	if got := sink.Records(); len(got) != 4 || got[0].Offset != 6 {
		t.Errorf("went on with %d records from offset %d, want 4 from 6", len(got), got[0].Offset)
	}
}

func TestFailedChunkComesAgainAsItWas(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	publishAll(t, cfg, topic, 10)
	sink := kafkatest.NewSink()
	var attempts []string
	sink.Before = func(_ context.Context, c kafka.Chunk) error {
		attempts = append(attempts, fmt.Sprintf("%d..%d:%d", c.From, c.Next, len(c.Records)))
		if len(attempts) < 3 {
			return errors.New("database is away")
		}
		return nil
	}
	stop := background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), 10); err != nil {
		t.Fatal(err)
	}
	stop()
	const want = "-2..10:10"
	if !slices.Equal(attempts, []string{want, want, want}) {
		t.Errorf("attempts %v, want the same chunk %s three times", attempts, want)
	}
}

func TestPoisonGoesToTheDLQAndTheOffsetMovesOn(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	sender, err := kafka.NewSender(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	otherType, garbage := rawNumber(t, topic, 2), rawNumber(t, topic, 3)
	otherType.Meta.Type = "google.protobuf.StringValue"
	garbage.Value = []byte{0xff}
	if err := sender.SendRaw(deadline(t), []kafka.RawMessage{rawNumber(t, topic, 1), otherType, garbage, rawNumber(t, topic, 4)}); err != nil {
		t.Fatal(err)
	}
	produceBare(t, cfg, topic, "no envelope at all") // offset 4
	if err := sender.SendRaw(deadline(t), []kafka.RawMessage{rawNumber(t, topic, 5)}); err != nil {
		t.Fatal(err)
	}

	sink := kafkatest.NewSink()
	sink.Before = func(_ context.Context, c kafka.Chunk) error {
		_, err := kafka.DecodeAll(c, func() number { return &wrapperspb.Int64Value{} })
		return err
	}
	registry := prometheus.NewPedanticRegistry()
	cc := consumerConfig(cfg, topic)
	cc.Registerer = registry
	consumer, err := kafka.NewConsumer(cc, sink)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, consumer.Run)
	if err := sink.Await(deadline(t), 3); err != nil {
		t.Fatal(err)
	}
	stop()
	if next, err := sink.LoadOffset(t.Context(), topic, 0); next != 6 || err != nil {
		t.Errorf("stored offset %d, %v; want 6", next, err)
	}
	want := map[string]string{
		"1": `type is "google.protobuf.StringValue"`,
		"2": "cannot parse",
		"4": "header ce_specversion is missing",
	}
	letters := readBare(t, cfg, kafka.DLQ(topic), len(want))
	for _, l := range letters {
		if reason := want[l["dlq_offset"]]; reason == "" || !strings.Contains(l["dlq_reason"], reason) {
			t.Errorf("dead letter of offset %s: reason %q, want %q", l["dlq_offset"], l["dlq_reason"], reason)
		}
		if l["dlq_topic"] != topic || l["dlq_partition"] != "0" || l["dlq_group"] != cc.Group {
			t.Errorf("dead letter says it is from %v", l)
		}
	}
	metrics := strings.ReplaceAll(`
# HELP foreshadow_kafka_consumed_total Records handled and committed.
# TYPE foreshadow_kafka_consumed_total counter
foreshadow_kafka_consumed_total{group="group-TOPIC",topic="TOPIC"} 3
# HELP foreshadow_kafka_dead_lettered_total Records set aside in the topic's .dlq.
# TYPE foreshadow_kafka_dead_lettered_total counter
foreshadow_kafka_dead_lettered_total{group="group-TOPIC",topic="TOPIC"} 3
`, "TOPIC", topic)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(metrics),
		"foreshadow_kafka_consumed_total", "foreshadow_kafka_dead_lettered_total"); err != nil {
		t.Error(err)
	}
}

func TestLostOffsetStartsFromTheOldestRecord(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	publishAll(t, cfg, topic, 10)
	sink := kafkatest.NewSink()
	sink.SetOffset(topic, 0, 1000) // beyond the end: the broker has lost its log
	registry := prometheus.NewPedanticRegistry()
	cc := consumerConfig(cfg, topic)
	cc.Registerer = registry
	consumer, err := kafka.NewConsumer(cc, sink)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, consumer.Run)
	if err := sink.Await(deadline(t), 10); err != nil {
		t.Fatal(err)
	}
	stop()
	wantEach(t, sink.Records(), 10)
	want := strings.ReplaceAll(`
# HELP foreshadow_kafka_offset_resets_total Stored offsets that the broker no longer had.
# TYPE foreshadow_kafka_offset_resets_total counter
foreshadow_kafka_offset_resets_total{group="group-TOPIC",topic="TOPIC"} 1
`, "TOPIC", topic)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "foreshadow_kafka_offset_resets_total"); err != nil {
		t.Error(err)
	}
}

func TestOffsetDeletedByRetentionStartsFromTheOldestRecord(t *testing.T) {
	t.Parallel()
	cfg := kafkatest.NewBroker(t, func(c *embedded.BrokerConfig) { c.CleanInterval = 10 * time.Millisecond }).Config()
	topic := kafkatest.TopicFrom(t, cfg, kafka.Topic{Partitions: 1, Retention: time.Hour})
	p := newPublisher(t, publisherConfig(cfg, topic))
	background(t, p.Run)
	publish := func(from, to int64, at time.Time) {
		for n := from; n < to; n++ {
			p.PublishEvent(kafka.Event[number]{Key: "key", Message: wrapperspb.Int64(n), Time: at})
		}
		if err := p.Flush(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	publish(0, 10, time.Now().Add(-2*time.Hour))
	awaitFirstOffset(t, cfg, topic, 10)
	publish(10, 15, time.Now())

	sink := kafkatest.NewSink()
	sink.SetOffset(topic, 0, 3)
	var from atomic.Int64
	sink.Before = func(_ context.Context, c kafka.Chunk) error { from.CompareAndSwap(0, c.From); return nil }
	background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), 5); err != nil {
		t.Fatal(err)
	}
	if got := sink.Records(); len(got) != 5 || got[0].Offset != 10 {
		t.Errorf("read %d records from offset %d, want 5 from 10", len(got), got[0].Offset)
	}
	if from.Load() != 3 {
		t.Errorf("first chunk compares with offset %d, want the stored 3", from.Load())
	}
}

// awaitFirstOffset asks until the broker has deleted what lies before want.
func awaitFirstOffset(t testing.TB, cfg kafka.Config, topic string, want int64) {
	t.Helper()
	client, transport := bareClient(cfg)
	defer transport.CloseIdleConnections()
	for ctx := deadline(t); ; {
		resp, err := client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: {kafkago.FirstOffsetOf(0)}}})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Topics[topic][0].FirstOffset >= want {
			return
		}
	}
}

func TestGroupReaderGoesOnWhereItCommitted(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 2)
	var all []kafka.Record
	for round := 1; round <= 2; round++ {
		publishAll(t, cfg, topic, 500)
		batches := make(chan []kafka.Record, 100)
		var failed atomic.Bool // handle is called for several partitions at once
		reader, err := kafka.NewGroupReader(consumerConfig(cfg, topic), func(_ context.Context, records []kafka.Record) error {
			if !failed.Swap(true) {
				return errors.New("shadow is away")
			}
			batches <- records
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, reader.Run)
		ctx := deadline(t)
		for got := 0; got < 500; {
			select {
			case batch := <-batches:
				got += len(batch)
				all = append(all, batch...)
			case <-ctx.Done():
				t.Fatalf("round %d: %d of 500 records", round, got)
			}
		}
		stop()
	}
	if len(all) != 1000 {
		t.Errorf("read %d records in two runs, want 1000: the second began where the first had committed", len(all))
	}
}

// member joins a group whose partitions one member has.
type member struct {
	told    chan int // partitions, by generation
	got     chan kafka.Record
	refused chan struct{} // closed when the group did not take it
	stop    func()
}

// lines is a log.
type lines func(line string)

func (l lines) Write(b []byte) (int, error) {
	l(string(b))
	return len(b), nil
}

func joinExclusive(t testing.TB, cfg kafka.Config, topic string) member {
	t.Helper()
	m := member{told: make(chan int, 100), got: make(chan kafka.Record, 1000), refused: make(chan struct{})}
	refused := sync.OnceFunc(func() { close(m.refused) })
	cc := consumerConfig(cfg, topic)
	cc.Exclusive, cc.Assigned = true, func(partitions int) { m.told <- partitions }
	cc.Logger = slog.New(slog.NewTextHandler(lines(func(line string) {
		if strings.Contains(line, kafkago.InconsistentGroupProtocol.Title()) {
			refused()
		}
	}), nil))
	reader, err := kafka.NewGroupReader(cc, func(_ context.Context, records []kafka.Record) error {
		for _, r := range records {
			m.got <- r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.stop = background(t, reader.Run)
	return m
}

// awaitTold waits until a member is told of so many partitions.
func (m member) awaitTold(t testing.TB, want int) {
	t.Helper()
	for ctx := deadline(t); ; {
		select {
		case got := <-m.told: // the same may be told again, of a generation in which nothing moved
			if got == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("not told of %d partitions", want)
		}
	}
}

func (m member) awaitRecords(t testing.TB, n int) {
	t.Helper()
	ctx := deadline(t)
	for i := range n {
		select {
		case <-m.got:
		case <-ctx.Done():
			t.Fatalf("read %d of %d records", i, n)
		}
	}
}

func TestOneMemberHasAllPartitionsAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 3)
	first := joinExclusive(t, cfg, topic)
	first.awaitTold(t, 3)
	second := joinExclusive(t, cfg, topic)
	second.awaitTold(t, 0)
	first.awaitTold(t, 3) // in the generation with both, too
	publishAll(t, cfg, topic, 200)
	first.awaitRecords(t, 200)
	for len(second.told) > 0 {
		if n := <-second.told; n > 0 {
			t.Errorf("the second was given %d partitions of a member that is there", n)
		}
	}
	first.stop()
	first.awaitTold(t, 0)
	second.awaitTold(t, 3)
	publishAll(t, cfg, topic, 100)
	second.awaitRecords(t, 100)
	if len(first.got) != 0 || len(second.got) != 0 {
		t.Errorf("records came twice: %d, %d", len(first.got), len(second.got))
	}
}

// A member of an earlier release shares the partitions. Who wants them all waits until it is gone.
func TestAMemberThatSharesIsWaitedFor(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 3)
	publishAll(t, cfg, topic, 100)
	sink := kafkatest.NewSink()
	stop := background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), 100); err != nil {
		t.Fatal(err)
	}
	all := joinExclusive(t, cfg, topic)
	select {
	case <-all.refused:
	case <-deadline(t).Done():
		t.Fatal("it was not refused")
	}
	publishAll(t, cfg, topic, 100)
	if err := sink.Await(deadline(t), 200); err != nil {
		t.Fatal(err)
	}
	if len(all.told) != 0 {
		t.Errorf("told of %d partitions beside a member that shares them", <-all.told)
	}
	stop()
	all.awaitTold(t, 3)
}

// TestPoisonThatFillsARecordHoldsUpNothing: the copy has more headers than the original, whatever it is of that is large.
func TestPoisonThatFillsARecordHoldsUpNothing(t *testing.T) {
	t.Parallel()
	cfg := sharedBroker(t)
	topic := kafkatest.Topic(t, cfg, 1)
	full := make([]byte, 1<<20-100) // of the 1 MiB that a broker takes
	for _, r := range []kafkago.Record{
		{Value: kafkago.NewBytes(full)}, {Key: kafkago.NewBytes(full)}, {Headers: []kafkago.Header{{Key: "theirs", Value: full}}},
	} {
		produceRecord(t, cfg, topic, r)
	}
	publishAll(t, cfg, topic, 1)
	sink := kafkatest.NewSink()
	stop := background(t, newConsumer(t, cfg, topic, sink).Run)
	if err := sink.Await(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	stop()
	for i, l := range readBare(t, cfg, kafka.DLQ(topic), 3) {
		if l["dlq_offset"] != fmt.Sprint(i) || l["dlq_truncated_bytes"] != fmt.Sprint(len(full)) || len(l["theirs"]) != 0 {
			t.Errorf("dead letter %d: offset %s, %s bytes cut", i, l["dlq_offset"], l["dlq_truncated_bytes"])
		}
	}
}

// produceBare writes a record without any header.
func produceBare(t testing.TB, cfg kafka.Config, topic, value string) {
	t.Helper()
	produceRecord(t, cfg, topic, kafkago.Record{Value: kafkago.NewBytes([]byte(value))})
}

func produceRecord(t testing.TB, cfg kafka.Config, topic string, record kafkago.Record) {
	t.Helper()
	record.Time = time.Now()
	client, transport := bareClient(cfg)
	defer transport.CloseIdleConnections()
	resp, err := client.Produce(deadline(t), &kafkago.ProduceRequest{
		Topic: topic, RequiredAcks: kafkago.RequireAll,
		Records: kafkago.NewRecordReader(record),
	})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readBare reads the headers of the first n records of partition 0.
func readBare(t testing.TB, cfg kafka.Config, topic string, n int) []map[string]string {
	t.Helper()
	client, transport := bareClient(cfg)
	defer transport.CloseIdleConnections()
	var out []map[string]string
	for len(out) < n {
		resp, err := client.Fetch(deadline(t), &kafkago.FetchRequest{Topic: topic, Offset: int64(len(out)), MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
		if err == nil {
			err = resp.Error
		}
		if err != nil {
			t.Fatal(err)
		}
		if resp.HighWatermark < int64(n) {
			t.Fatalf("%s holds %d records, want %d", topic, resp.HighWatermark, n)
		}
		for r, err := resp.Records.ReadRecord(); err == nil; r, err = resp.Records.ReadRecord() {
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			if r.Offset >= int64(len(out)) {
				out = append(out, headers)
			}
		}
	}
	return out
}

func bareClient(cfg kafka.Config) (*kafkago.Client, *kafkago.Transport) {
	transport := &kafkago.Transport{}
	return &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Transport: transport}, transport
}
