// Package ingest is where the consumer's chunks go. It promises exactly once: what a chunk changes, the offset behind it
// and the events it causes commit in one transaction, or not at all.
//
//	begin
//	  consumer_offset    From -> Next, only if it still is From   otherwise: fenced, another consumer owns the partition
//	  producer_sequence  records that are not new are left out    a producer re-sends what was not acknowledged
//	  windows            merged, revised, into the outbox
//	commit
//
// An observation belongs to the window that holds its start_time, whatever its duration; one that does not end in the same
// window is poison, as is everything else that no later attempt could store.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

// Hop is the name of the observations' ledger.
const Hop = "metrics-aggregator/observed"

// Reasons of the ledger's drops.
const (
	reasonDuplicate = "duplicate"
	reasonPoison    = "poison"
)

// commitTimeout is how long a database that hangs is waited for before the connection is given up.
const commitTimeout = 30 * time.Second

// Config is what a sink needs.
type Config struct {
	Pool  *pgxpool.Pool
	Store *window.Store
	// Bell is rung after each commit.
	Bell *notify.Bell
	// Width of the windows.
	Width time.Duration
	// Retain is how old an observation may be.
	Retain time.Duration
	// Now is our clock; the database's is asked too.
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Sink implements kafka.Sink.
type Sink struct {
	cfg    Config
	book   *metric.Book
	commit *prometheus.HistogramVec
}

// New returns a sink; it does no I/O.
func New(cfg Config) (*Sink, error) {
	s := &Sink{
		cfg: cfg, book: metric.NewBook(Hop),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "foreshadow_aggregator_commit_duration_seconds",
			Help:    "Time to commit one chunk of records.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"topic"}),
	}
	if err := cfg.Registerer.Register(s.commit); err != nil {
		return nil, fmt.Errorf("register metrics of the sink: %w", err)
	}
	return s, nil
}

// Ledger is the account of observations: seen = merged + duplicates + poison. It begins anew with each process.
func (s *Sink) Ledger() metric.Ledger { return s.book.Ledger() }

// LoadOffset implements kafka.Sink.
func (s *Sink) LoadOffset(ctx context.Context, topic string, partition int) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var next int64
	err := s.cfg.Pool.QueryRow(ctx, "select next_offset from consumer_offset where topic = $1 and partition = $2", topic, partition).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return kafka.OffsetEarliest, nil
	}
	if err != nil {
		return 0, fmt.Errorf("load offset of %s/%d: %w", topic, partition, err)
	}
	return next, nil
}

// HandleChunk implements kafka.Sink.
func (s *Sink) HandleChunk(ctx context.Context, chunk kafka.Chunk) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	began := time.Now()
	var err error
	if chunk.Topic == kafka.TopicMetricsObserved {
		err = s.handleObserved(ctx, chunk)
	} else {
		err = s.handleDecisions(ctx, chunk)
	}
	if err == nil {
		s.commit.WithLabelValues(chunk.Topic).Observe(time.Since(began).Seconds())
		s.cfg.Bell.Ring()
	}
	return err
}

func (s *Sink) handleObserved(ctx context.Context, chunk kafka.Chunk) error {
	now, err := s.present(ctx)
	if err != nil {
		return err
	}
	limits := bounds{width: s.cfg.Width, retention: s.cfg.Retain, now: now}
	observations := make([]observation, 0, len(chunk.Records))
	var poison []kafka.Poison
	for _, r := range chunk.Records {
		o, err := limits.read(r)
		if err != nil {
			poison = append(poison, kafka.Poison{Offset: r.Offset, Reason: err.Error()})
			continue
		}
		observations = append(observations, o)
	}
	if len(poison) > 0 {
		s.book.See(uint64(len(poison)))
		s.book.Drop(reasonPoison, uint64(len(poison)))
		return &kafka.PoisonError{Records: poison}
	}
	if err := s.prepare(ctx, observations); err != nil {
		return fmt.Errorf("prepare chunk: %w", err)
	}
	merged := 0
	err = pgx.BeginFunc(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		known, err := claim(ctx, tx, chunk)
		if err != nil {
			return err
		}
		fresh := known.fresh(observations)
		merged = len(fresh)
		if err := s.cfg.Store.Merge(ctx, tx, chunk.Topic+"/"+strconv.Itoa(chunk.Partition), sum(fresh)); err != nil {
			return err
		}
		return known.save(ctx, tx, chunk)
	})
	if err != nil {
		return fmt.Errorf("commit chunk from offset %d: %w", chunk.From, err)
	}
	s.book.See(uint64(len(observations)))
	s.book.Pass(uint64(merged))
	s.book.Drop(reasonDuplicate, uint64(len(observations)-merged))
	return nil
}

// present asks our clock and the database's. What was set aside for its time does not come back, so both must refuse it: one that is
// wrong, of a machine that was suspended for example, would set aside all there is.
func (s *Sink) present(ctx context.Context) (present, error) {
	now := s.cfg.Now()
	var p present
	if err := s.cfg.Pool.QueryRow(ctx, "select least($1, now()), greatest($1, now())", now).Scan(&p.first, &p.last); err != nil {
		return p, fmt.Errorf("read the clock of the database: %w", err)
	}
	return p, nil
}

func (s *Sink) prepare(ctx context.Context, observations []observation) error {
	starts, strata := map[time.Time]bool{}, map[traffic.Stratum]bool{}
	for _, o := range observations {
		starts[o.key.Start] = true
		for st := range o.delta.Strata {
			strata[st] = true
		}
	}
	return s.cfg.Store.Prepare(ctx, starts, strata)
}

// sum adds up observations by window.
func sum(observations []observation) map[window.Key]*window.Traffic {
	out := map[window.Key]*window.Traffic{}
	for _, o := range observations {
		w := out[o.key]
		if w == nil {
			w = &window.Traffic{}
			out[o.key] = w
		}
		w.Merge(o.delta)
	}
	return out
}

// sequences are the last sequences seen of producers in one partition.
type sequences struct {
	last    map[string]int64
	changed map[string]bool
}

// claim moves the offset, which locks the partition until tx ends, and reads the sequences of the chunk's producers.
func claim(ctx context.Context, tx pgx.Tx, chunk kafka.Chunk) (*sequences, error) {
	batch := &pgx.Batch{}
	moved := false
	queueOffset(batch, chunk).Exec(func(tag pgconn.CommandTag) error { moved = tag.RowsAffected() == 1; return nil })
	producers := map[string]bool{}
	var ids []string
	for _, r := range chunk.Records {
		if id := r.Meta.ProducerID; !producers[id] {
			producers[id] = true
			ids = append(ids, id)
		}
	}
	known := &sequences{last: map[string]int64{}, changed: map[string]bool{}}
	batch.Queue("select producer_id, sequence from producer_sequence where topic = $1 and partition = $2 and producer_id = any ($3)",
		chunk.Topic, chunk.Partition, ids).Query(func(rows pgx.Rows) error {
		var id string
		var sequence int64
		_, err := pgx.ForEachRow(rows, []any{&id, &sequence}, func() error { known.last[id] = sequence; return nil })
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("claim offset %d: %w", chunk.From, err)
	}
	if !moved {
		return nil, kafka.ErrFenced
	}
	return known, nil
}

func queueOffset(batch *pgx.Batch, chunk kafka.Chunk) *pgx.QueuedQuery {
	if chunk.From < 0 { // LoadOffset found none
		return batch.Queue("insert into consumer_offset (topic, partition, next_offset) values ($1, $2, $3) on conflict do nothing",
			chunk.Topic, chunk.Partition, chunk.Next)
	}
	return batch.Queue("update consumer_offset set next_offset = $3 where topic = $1 and partition = $2 and next_offset = $4",
		chunk.Topic, chunk.Partition, chunk.Next, chunk.From)
}

// fresh leaves out copies.
func (s *sequences) fresh(observations []observation) []observation {
	out := make([]observation, 0, len(observations))
	for _, o := range observations {
		id, sequence := o.record.Meta.ProducerID, int64(o.record.Meta.Sequence)
		if last, seen := s.last[id]; seen && sequence <= last {
			continue
		}
		s.last[id], s.changed[id] = sequence, true
		out = append(out, o)
	}
	return out
}

func (s *sequences) save(ctx context.Context, tx pgx.Tx, chunk kafka.Chunk) error {
	if len(s.changed) == 0 {
		return nil
	}
	var ids []string
	var last []int64
	for id := range s.changed {
		ids, last = append(ids, id), append(last, s.last[id])
	}
	_, err := tx.Exec(ctx, `insert into producer_sequence (topic, partition, producer_id, sequence)
		select $1, $2, producer_id, sequence from unnest($3::text[], $4::bigint[]) as p (producer_id, sequence)
		on conflict (topic, partition, producer_id) do update set sequence = excluded.sequence, update_time = now()`,
		chunk.Topic, chunk.Partition, ids, last)
	if err != nil {
		return fmt.Errorf("save sequences: %w", err)
	}
	return nil
}
