package ingest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/ingest"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// epoch is the tests' present; the database's is near.
var epoch = time.Now().UTC().Truncate(time.Hour)

func migrate(ctx context.Context, url string) error {
	pool, err := database.Open(workload.Secret(url))
	if err != nil {
		return err
	}
	defer pool.Close()
	return database.Migrate(ctx, pool)
}

// newPool gives a test a migrated database of its own.
func newPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Open(workload.Secret(embeddedtest.PostgresFrom(t, migrate)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// newSink is one process's sink: several on one pool are several processes, for they share nothing else.
func newSink(t testing.TB, pool *pgxpool.Pool) *ingest.Sink {
	t.Helper()
	return newSinkAt(t, pool, epoch)
}

func newSinkAt(t testing.TB, pool *pgxpool.Pool, at time.Time) *ingest.Sink {
	t.Helper()
	now := func() time.Time { return at }
	sink, err := ingest.New(ingest.Config{
		Pool: pool, Store: window.NewStore(pool, database.NewStorage(pool), now), Bell: &notify.Bell{},
		Width: time.Second, Retain: 30 * 24 * time.Hour, Now: now, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// observed makes a random observation. Latencies are multiples of 2^-10, so that their sums are exact in any order.
func observed(rng *rand.Rand, name string, start time.Time) *foreshadowv1.MetricsObserved {
	strata := metric.Strata{}
	for range rng.IntN(4) {
		c := strata.At(traffic.Stratum{
			Route: fmt.Sprintf("GET /r%d", rng.IntN(3)), Geography: "DE", Device: []string{"mobile", "desktop"}[rng.IntN(2)], Network: "wifi",
		})
		for range 1 + rng.IntN(5) {
			c.Requests++
			c.Responses++
			c.ResponseBytes += uint64(rng.IntN(1000))
			c.Latency.Add(float64(1+rng.IntN(512)) / 1024)
		}
		c.Errors, c.SLOViolations, c.RequestBytes, c.Sampled = uint64(rng.IntN(2)), uint64(rng.IntN(2)), uint64(rng.IntN(99)), uint64(rng.IntN(2))
	}
	o := &foreshadowv1.MetricsObserved{
		Workload: name, Environment: foreshadowv1.Environment(1 + rng.IntN(2)), Source: "test",
		StartTime: timestamppb.New(start), DurationSeconds: 1, Traffic: strata.Proto(),
		MaxInFlight: uint32(rng.IntN(50)), MaxLagSeconds: float64(rng.IntN(8)) / 8,
	}
	if rng.IntN(3) > 0 { // not always known
		responses := uint64(1 + rng.IntN(50))
		o.Confidence = &foreshadowv1.SampleConfidence{
			Responses: responses, MixHalfWidthSum: float64(responses) / 8, TimedResponses: responses / 2,
			P95HalfWidthSum: float64(rng.IntN(64)) / 16, DesignEffectSum: float64(rng.IntN(64)), SpanSeconds: float64(rng.IntN(60)),
		}
	}
	return o
}

func record(t testing.TB, m proto.Message, producer string, sequence uint64) kafka.Record {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Record{Value: value, Meta: kafka.Meta{
		ID: kafka.EventID(producer, sequence), Type: string(m.ProtoReflect().Descriptor().FullName()), Source: "/test",
		Time: epoch, ProducerID: producer, Sequence: sequence,
	}}
}

// chunkOf lays records into a partition from an offset on; the first chunk of a partition is from OffsetEarliest.
func chunkOf(partition int, from int64, records ...kafka.Record) kafka.Chunk {
	c := kafka.Chunk{Topic: kafka.TopicMetricsObserved, Partition: partition, From: from}
	at := max(from, 0)
	for i, r := range records {
		r.Topic, r.Partition, r.Offset = c.Topic, partition, at+int64(i)
		c.Records = append(c.Records, r)
	}
	c.Next = at + int64(len(records))
	return c
}

// model adds up observations on its own, without the code under test.
type model map[window.Key][]*foreshadowv1.MetricsObserved

func (m model) add(o *foreshadowv1.MetricsObserved) {
	k := window.Key{Workload: o.Workload, Environment: o.Environment, Start: o.StartTime.AsTime().Truncate(time.Second), Width: time.Second}
	m[k] = append(m[k], o)
}

func (m model) windows(t testing.TB) map[string]*foreshadowv1.TrafficWindow {
	t.Helper()
	out := map[string]*foreshadowv1.TrafficWindow{}
	for k, list := range m {
		w := &foreshadowv1.TrafficWindow{}
		var all []*foreshadowv1.Traffic
		for _, o := range list {
			all = append(all, o.Traffic...)
			w.MaxInFlight, w.MaxLagSeconds = max(w.MaxInFlight, o.MaxInFlight), max(w.MaxLagSeconds, o.MaxLagSeconds)
			if c := o.Confidence; c != nil {
				if w.Confidence == nil {
					w.Confidence = &foreshadowv1.SampleConfidence{}
				}
				w.Confidence.Responses += c.Responses
				w.Confidence.MixHalfWidthSum += c.MixHalfWidthSum
				w.Confidence.TimedResponses += c.TimedResponses
				w.Confidence.P95HalfWidthSum += c.P95HalfWidthSum
				w.Confidence.DesignEffectSum += c.DesignEffectSum
				w.Confidence.SpanSeconds = max(w.Confidence.SpanSeconds, c.SpanSeconds)
			}
		}
		strata, err := metric.StrataFromProto(all)
		if err != nil {
			t.Fatal(err)
		}
		w.Strata = strata.Proto()
		out[name(k)] = w
	}
	return out
}

func name(k window.Key) string {
	return fmt.Sprintf("%s/%d/%s", k.Workload, k.Environment, k.Start.Format(time.RFC3339))
}

// stored reads all traffic windows of a workload, and their revisions.
func stored(t testing.TB, pool *pgxpool.Pool, workload string) (map[string]*foreshadowv1.TrafficWindow, map[string]uint64) {
	t.Helper()
	windows, revisions := map[string]*foreshadowv1.TrafficWindow{}, map[string]uint64{}
	for _, e := range []foreshadowv1.Environment{1, 2} {
		r := window.Range{Workload: workload, Environment: e, From: epoch.AddDate(0, 0, -40), To: epoch.AddDate(0, 0, 2)}
		keys, found, err := window.ListTraffic(t.Context(), pool, r, window.Position{}, 100000)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			p := found[k].Proto(k)
			windows[name(k)], revisions[name(k)] = p.GetTraffic(), p.Revision
		}
	}
	return windows, revisions
}

func checkWindows(t testing.TB, pool *pgxpool.Pool, workload string, want model) {
	t.Helper()
	got, revisions := stored(t, pool, workload)
	if diff := cmp.Diff(want.windows(t), got, protocmp.Transform()); diff != "" {
		t.Errorf("windows of %s differ from the sum of what was sent (-sent +stored):\n%s", workload, diff)
	}
	checkEvents(t, pool, workload, got, revisions)
}

// checkEvents: the outbox holds each revision once, in order, the last one equal to what is stored; and the totals of a
// window are the sum of its strata.
func checkEvents(t testing.TB, pool *pgxpool.Pool, workload string, windows map[string]*foreshadowv1.TrafficWindow, revisions map[string]uint64) {
	t.Helper()
	rows, err := pool.Query(t.Context(), "select payload from outbox where key = $1 order by outbox_id", workload)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]*foreshadowv1.MetricsWindowed{}
	for rows.Next() {
		var payload []byte
		var m foreshadowv1.MetricsWindowed
		if err := rows.Scan(&payload); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(payload, &m); err != nil {
			t.Fatal(err)
		}
		k := name(window.Key{Workload: m.Workload, Environment: m.Environment, Start: m.StartTime.AsTime()})
		if before := last[k].GetRevision(); m.Revision != before+1 {
			t.Errorf("window %s: revision %d follows %d in the outbox", k, m.Revision, before)
		}
		last[k] = &m
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	for k, w := range windows {
		if last[k].GetRevision() != revisions[k] || !proto.Equal(last[k].GetTraffic(), w) {
			t.Errorf("window %s: the newest event (revision %d) is not what is stored (revision %d)", k, last[k].GetRevision(), revisions[k])
		}
	}
	var off int
	err = pool.QueryRow(t.Context(), `select count(*) from traffic_window w where (requests, responses, errors, slo_violations, request_bytes, response_bytes, sampled)
		is distinct from (select (coalesce(sum(requests), 0)::bigint, coalesce(sum(responses), 0)::bigint, coalesce(sum(errors), 0)::bigint, coalesce(sum(slo_violations), 0)::bigint,
			coalesce(sum(request_bytes), 0)::bigint, coalesce(sum(response_bytes), 0)::bigint, coalesce(sum(sampled), 0)::bigint)
			from traffic_stratum s where s.workload = w.workload and s.environment = w.environment and s.start_time = w.start_time and s.width = w.width)`).Scan(&off)
	if err != nil || off != 0 {
		t.Errorf("%d windows whose totals are not the sum of their strata (err %v)", off, err)
	}
}
