package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/outbox"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

type silent struct{}

func (silent) NotReady(_, _ string) {}
func (silent) Ready(string)         {}

// bench is a database and a topic with two partitions of a test's own.
type bench struct {
	pool  *pgxpool.Pool
	kafka kafka.Config
	topic string
	real  *kafka.Sender
}

func newBench(t *testing.T) *bench {
	t.Helper()
	pool, err := database.Open(workload.Secret(embeddedtest.Postgres(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	b := &bench{pool: pool, kafka: kafka.Default(), topic: strings.ToLower(t.Name())}
	b.kafka.Brokers = []string{embeddedtest.Broker(t)}
	if err := kafka.EnsureTopics(t.Context(), b.kafka, []kafka.Topic{{Name: b.topic, Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	if b.real, err = kafka.NewSender(b.kafka, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.real.Close)
	return b
}

func (b *bench) relay(t *testing.T, sender outbox.Sender) *outbox.Relay {
	t.Helper()
	r, err := outbox.NewRelay(outbox.RelayConfig{
		Pool: b.pool, Sender: sender, Bell: &notify.Bell{}, Status: silent{}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write commits n events for each of three workloads, numbered by their revisions.
func (b *bench) write(t *testing.T, first, n int) {
	t.Helper()
	var events []outbox.Event
	for i := first; i < first+n; i++ {
		for _, w := range []string{"a", "b", "c"} {
			events = append(events, outbox.Event{Topic: b.topic, Key: w, Time: time.Unix(int64(i), 0),
				Message: &foreshadowv1.MetricsWindowed{Workload: w, Revision: uint64(i)}})
		}
	}
	err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		if err := outbox.Queue(batch, "test", events); err != nil {
			return err
		}
		return tx.SendBatch(t.Context(), batch).Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// published reads the topic to its end: all copies, and the revisions per workload without copies.
func (b *bench) published(t *testing.T) (copies int, revisions map[string][]uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dedup := kafka.NewDedup(1000)
	revisions = map[string][]uint64{}
	err := kafka.Tail(ctx, kafka.TailConfig{Kafka: b.kafka, Topic: b.topic, CaughtUp: cancel}, func(r kafka.Record) error {
		var m foreshadowv1.MetricsWindowed
		if err := r.Decode(&m); err != nil {
			return err
		}
		copies++
		if dedup.First(r) {
			revisions[m.Workload] = append(revisions[m.Workload], m.Revision)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return copies, revisions
}

// dying publishes and then dies before it can say so.
type dying struct{ outbox.Sender }

func (d dying) SendRaw(ctx context.Context, messages []kafka.RawMessage) error {
	return errors.Join(d.Sender.SendRaw(ctx, messages), errors.New("killed"))
}

func numbers(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i)
	}
	return out
}

func TestDeathBetweenPublishAndDeleteLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, 0, 10)
	if n, err := b.relay(t, dying{b.real}).RelayOnce(t.Context()); err == nil || n != 0 {
		t.Fatalf("a relay that died returned %d, %v", n, err)
	}
	b.write(t, 10, 5)
	next := b.relay(t, b.real)
	if n, err := next.RelayOnce(t.Context()); err != nil || n != 45 {
		t.Fatalf("the next relay returned %d, %v, want 45", n, err)
	}
	copies, revisions := b.published(t)
	if copies != 30+45 {
		t.Errorf("%d copies in the topic, want those of both relays", copies)
	}
	want := map[string][]uint64{"a": numbers(15), "b": numbers(15), "c": numbers(15)}
	if diff := cmp.Diff(want, revisions); diff != "" {
		t.Errorf("events per key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(metric.Ledger{Hop: outbox.Hop, Seen: 45, Passed: 45}, next.Ledger()); diff != "" {
		t.Errorf("ledger over both lives:\n%s", diff)
	}
}

// gate lets one slice pass when it is opened.
type gate struct {
	outbox.Sender
	entered, open chan struct{}
}

func (g gate) SendRaw(ctx context.Context, messages []kafka.RawMessage) error {
	close(g.entered)
	<-g.open
	return g.Sender.SendRaw(ctx, messages)
}

func TestOneRelayWorksAndTheOtherStandsBy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, 0, 4)
	g := gate{b.real, make(chan struct{}), make(chan struct{})}
	first, second := b.relay(t, g), b.relay(t, b.real)
	done := make(chan error, 1)
	go func() {
		n, err := first.RelayOnce(t.Context())
		if n != 12 {
			err = fmt.Errorf("relayed %d: %w", n, err)
		}
		done <- err
	}()
	<-g.entered
	if n, err := second.RelayOnce(t.Context()); n != 0 || err != nil {
		t.Errorf("the second relay returned %d, %v beside the first", n, err)
	}
	if diff := cmp.Diff(metric.Ledger{Hop: outbox.Hop, Seen: 12, Pending: 12}, second.Ledger()); diff != "" {
		t.Errorf("ledger meanwhile:\n%s", diff)
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if copies, _ := b.published(t); copies != 12 {
		t.Errorf("%d copies in the topic, want 12", copies)
	}
}

func TestAnEventTheBrokerNeverTakesDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	batch := &pgx.Batch{}
	huge := &foreshadowv1.MetricsWindowed{Workload: strings.Repeat("x", 2<<20)}
	if err := outbox.Queue(batch, "huge", []outbox.Event{{Topic: b.topic, Key: "a", Time: time.Unix(1, 0), Message: huge}}); err != nil {
		t.Fatal(err)
	}
	if err := b.pool.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	b.write(t, 0, 2)
	r := b.relay(t, b.real)
	if n, err := r.RelayOnce(t.Context()); err != nil || n != 7 {
		t.Fatalf("relayed %d, %v", n, err)
	}
	want := metric.Ledger{Hop: outbox.Hop, Seen: 7, Passed: 6, Dropped: map[string]uint64{"rejected": 1}}
	if diff := cmp.Diff(want, r.Ledger()); diff != "" {
		t.Errorf("ledger:\n%s", diff)
	}
}
