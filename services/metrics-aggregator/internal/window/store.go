package window

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/outbox"
)

// Store writes windows. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	storage *database.Storage
	strata  dictionary
	now     func() time.Time
}

// NewStore returns a store over a database that Migrate has been called on, or will be.
func NewStore(pool *pgxpool.Pool, storage *database.Storage, now func() time.Time) *Store {
	return &Store{
		pool: pool, storage: storage, now: now,
		strata: dictionary{pool: pool, ids: map[traffic.Stratum]int32{}},
	}
}

// Prepare must be called for the starts and strata of windows before the transaction in which they are merged.
func (s *Store) Prepare(ctx context.Context, starts map[time.Time]bool, strata map[traffic.Stratum]bool) error {
	if err := s.storage.Prepare(ctx, slices.Collect(maps.Keys(starts))...); err != nil {
		return err
	}
	return s.strata.learn(ctx, strata)
}

// Merge adds the deltas to the stored windows within tx, gives each a new revision, and queues its event. writer names
// who does it, for the tally of the outbox. Windows of one workload are locked until tx ends.
func (s *Store) Merge(ctx context.Context, tx pgx.Tx, writer string, deltas map[Key]*Traffic) error {
	if len(deltas) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(deltas), Key.compare)
	stored := make(map[Key]*Traffic, len(keys))
	load := &pgx.Batch{}
	queueLocks(load, keys)
	queueLoad(load, keys, stored)
	if err := tx.SendBatch(ctx, load).Close(); err != nil {
		return fmt.Errorf("load %d windows to merge into: %w", len(keys), err)
	}
	for _, k := range keys {
		w := stored[k]
		if w == nil {
			w = &Traffic{}
			stored[k] = w
		}
		w.Merge(deltas[k])
		w.Revision++
	}
	save := &pgx.Batch{}
	if err := queueHeaders(save, keys, stored); err != nil {
		return err
	}
	if err := s.queueStrata(save, keys, deltas, stored); err != nil {
		return err
	}
	events := make([]outbox.Event, len(keys))
	for i, k := range keys {
		events[i] = outbox.Event{Topic: kafka.TopicMetricsWindowed, Key: k.Workload, Time: s.now(), Message: stored[k].Proto(k)}
	}
	if err := outbox.Queue(save, writer, events); err != nil {
		return err
	}
	queueChanges(save, foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC, keys)
	if err := tx.SendBatch(ctx, save).Close(); err != nil {
		return s.storage.Explain(fmt.Errorf("save %d windows: %w", len(keys), err))
	}
	return nil
}

// SaveUsage writes a usage window in a transaction of its own. When another collector was first, nothing changes.
func (s *Store) SaveUsage(ctx context.Context, k Key, u *Usage) error {
	if err := s.storage.Prepare(ctx, k.Start); err != nil {
		return err
	}
	u.Revision = 1
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		first := &pgx.Batch{}
		queueLocks(first, []Key{k})
		var written bool
		first.Queue(`insert into usage_window (workload, environment, start_time, width, revision, desired_instances, ready_instances)
			values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
			k.Workload, int16(k.Environment), k.Start, k.Width, int64(u.Revision), u.Desired, u.Ready).
			Exec(func(tag pgconn.CommandTag) error { written = tag.RowsAffected() == 1; return nil })
		if err := tx.SendBatch(ctx, first).Close(); err != nil || !written {
			return err
		}
		batch := &pgx.Batch{}
		for _, i := range u.Instances {
			batch.Queue(`insert into usage_instance (workload, environment, start_time, width, instance, cpu_cores, memory_bytes,
				receive_bytes_per_second, transmit_bytes_per_second, ready, given_cpu_cores, given_memory_bytes)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11::double precision, 0), nullif($12::bigint, 0))`,
				k.Workload, int16(k.Environment), k.Start, k.Width, i.Instance, i.CpuCores, int64(i.MemoryBytes),
				i.ReceiveBytesPerSecond, i.TransmitBytesPerSecond, i.Ready, i.GivenCpuCores, int64(i.GivenMemoryBytes))
		}
		event := outbox.Event{Topic: kafka.TopicMetricsWindowed, Key: k.Workload, Time: s.now(), Message: u.Proto(k)}
		if err := outbox.Queue(batch, "usage/"+k.Workload, []outbox.Event{event}); err != nil {
			return err
		}
		queueChanges(batch, foreshadowv1.WindowKind_WINDOW_KIND_USAGE, []Key{k})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return s.storage.Explain(fmt.Errorf("save usage window: %w", err))
	}
	return nil
}

// lockClass keeps the locks of workloads apart from all others.
const lockClass int32 = 0x666f7265

// queueLocks makes the transaction the only one that changes windows of these workloads. Row locks would not do: a row
// that is not there yet cannot be locked, and TimescaleDB does not lock compressed ones.
func queueLocks(batch *pgx.Batch, keys []Key) {
	locks := map[int32]bool{}
	for _, k := range keys {
		h := fnv.New32a()
		_, _ = h.Write([]byte(k.Workload)) // never fails
		locks[int32(h.Sum32())] = true
	}
	// Everybody takes them in one order, so that nobody deadlocks.
	batch.Queue("select pg_advisory_xact_lock($1, l) from unnest($2::integer[]) l", lockClass, slices.Sorted(maps.Keys(locks)))
}

func queueHeaders(batch *pgx.Batch, keys []Key, windows map[Key]*Traffic) error {
	c := columnsOf(keys)
	var revisions, inFlight []int64
	var lags []float64
	var confidences [][]byte
	var n counterColumns
	for _, k := range keys {
		w := windows[k]
		revisions, inFlight = append(revisions, int64(w.Revision)), append(inFlight, int64(w.MaxInFlight))
		lags = append(lags, w.MaxLag)
		n.add(countersOf(w.Strata.Total()))
		var confidence []byte // null: not known
		if p := w.Confidence.Proto(); p != nil {
			var err error
			if confidence, err = (proto.MarshalOptions{Deterministic: true}).Marshal(p); err != nil {
				return fmt.Errorf("encode confidence: %w", err)
			}
		}
		confidences = append(confidences, confidence)
	}
	args := append([]any{c.workloads, c.environments, c.starts, c.widths, revisions, inFlight, lags, confidences}, n.args()...)
	batch.Queue(`insert into traffic_window (workload, environment, start_time, width, revision, max_in_flight, max_lag_seconds, confidence,
			requests, responses, errors, slo_violations, request_bytes, response_bytes, sampled)
		select * from unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::interval[], $5::bigint[], $6::bigint[],
			$7::double precision[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
		on conflict (workload, environment, start_time, width) do update set revision = excluded.revision,
			max_in_flight = excluded.max_in_flight, max_lag_seconds = excluded.max_lag_seconds, confidence = excluded.confidence, requests = excluded.requests,
			responses = excluded.responses, errors = excluded.errors, slo_violations = excluded.slo_violations,
			request_bytes = excluded.request_bytes, response_bytes = excluded.response_bytes, sampled = excluded.sampled`, args...)
	return nil
}

// queueStrata writes those strata that the deltas touch.
func (s *Store) queueStrata(batch *pgx.Batch, keys []Key, deltas, windows map[Key]*Traffic) error {
	var touched []Key
	var ids []int32
	var latencies [][]byte
	var n counterColumns
	for _, k := range keys {
		for st := range deltas[k].Strata {
			id, known := s.strata.id(st)
			if !known {
				return fmt.Errorf("stratum %q has no number: windows were not prepared", st.Route)
			}
			c := windows[k].Strata[st]
			latency, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.Latency.Proto())
			if err != nil {
				return fmt.Errorf("encode latency: %w", err)
			}
			touched, ids, latencies = append(touched, k), append(ids, id), append(latencies, latency)
			n.add(countersOf(c))
		}
	}
	if len(touched) == 0 {
		return nil
	}
	c := columnsOf(touched)
	args := append([]any{c.workloads, c.environments, c.starts, c.widths, ids, latencies}, n.args()...)
	batch.Queue(`insert into traffic_stratum (workload, environment, start_time, width, stratum_id, latency,
			requests, responses, errors, slo_violations, request_bytes, response_bytes, sampled)
		select * from unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::interval[], $5::integer[], $6::bytea[],
			$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
		on conflict (workload, environment, start_time, width, stratum_id) do update set latency = excluded.latency,
			requests = excluded.requests, responses = excluded.responses, errors = excluded.errors,
			slo_violations = excluded.slo_violations, request_bytes = excluded.request_bytes,
			response_bytes = excluded.response_bytes, sampled = excluded.sampled`, args...)
	return nil
}

func queueChanges(batch *pgx.Batch, kind foreshadowv1.WindowKind, keys []Key) {
	c := columnsOf(keys)
	batch.Queue(`insert into window_change (workload, environment, kind, start_time, width)
		select workload, environment, $5, start_time, width
		from unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::interval[])
			with ordinality as k (workload, environment, start_time, width, n) order by n`,
		c.workloads, c.environments, c.starts, c.widths, int16(kind))
}

// counterColumns are counters as arrays.
type counterColumns [len(counters{})][]int64

func (c *counterColumns) add(n counters) {
	for i := range n {
		c[i] = append(c[i], n[i])
	}
}

func (c *counterColumns) args() []any {
	out := make([]any, len(c))
	for i := range c {
		out[i] = c[i]
	}
	return out
}
