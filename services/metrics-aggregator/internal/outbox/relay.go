package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
)

const (
	// sliceEvents and sliceBytes bound what is read and published at once.
	sliceEvents = 500
	sliceBytes  = 4 << 20
	// publishTimeout bounds how long one slice holds its transaction while the brokers are away.
	publishTimeout = 10 * time.Second
	// databaseTimeout is how long a database that hangs is waited for.
	databaseTimeout = 20 * time.Second
	// idle is how long the relay waits for a bell before it looks by itself: rows may be another process's.
	idle = time.Second

	lockRelay int64 = 0x666f726573_03
)

// Sender publishes a slice and returns when it is acknowledged.
type Sender interface {
	SendRaw(ctx context.Context, messages []kafka.RawMessage) error
}

// Status is told how the relay fares.
type Status interface {
	NotReady(part, reason string)
	Ready(part string)
}

// Relay publishes the outbox. Several may run on one database: one works, the others stand by.
type Relay struct {
	pool   *pgxpool.Pool
	sender Sender
	bell   *notify.Bell
	status Status
	log    *slog.Logger

	rejected prometheus.Counter

	mu     sync.Mutex
	ledger metric.Ledger
}

// RelayConfig is what a relay needs.
type RelayConfig struct {
	Pool       *pgxpool.Pool
	Sender     Sender
	Bell       *notify.Bell
	Status     Status
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Hop is the relay's name in the ledger.
const Hop = "metrics-aggregator/outbox"

// NewRelay returns a relay; it works while Run runs.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	r := &Relay{
		pool: cfg.Pool, sender: cfg.Sender, bell: cfg.Bell, status: cfg.Status, log: cfg.Log,
		ledger: metric.Ledger{Hop: Hop},
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foreshadow_aggregator_outbox_rejected_total", Help: "Events the broker will never take; they are lost.",
		}),
	}
	depth := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foreshadow_aggregator_outbox_events", Help: "Events that are committed but not yet published.",
	}, func() float64 { return float64(r.Ledger().Pending) })
	for _, c := range []prometheus.Collector{r.rejected, depth} {
		if err := cfg.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the outbox: %w", err)
		}
	}
	return r, nil
}

// Ledger is the account of the outbox as last read from the database: it covers all processes, and their restarts.
func (r *Relay) Ledger() metric.Ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ledger
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	const part = "outbox"
	stalled := false
	for ctx.Err() == nil {
		heard := r.bell.Heard()
		n, err := r.RelayOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !stalled:
			r.log.Warn("outbox stalled, retrying", "err", err)
			r.status.NotReady(part, err.Error())
		case err == nil && stalled:
			r.log.Info("outbox resumed")
			r.status.Ready(part)
		}
		stalled = err != nil
		if err == nil && n > 0 {
			continue
		}
		if err != nil {
			heard = nil // a bell brings the broker back no sooner
		}
		wait(ctx, heard)
	}
}

func wait(ctx context.Context, heard <-chan struct{}) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-heard:
	case <-timer.C:
	}
}

// row is one row of the outbox.
type row struct {
	ID      int64
	Topic   string
	Key     string
	Type    string
	Time    time.Time
	Payload []byte
}

// RelayOnce publishes the oldest events, in order, and returns how many; 0 when there are none, or another relay works. It
// brings the ledger up to date.
func (r *Relay) RelayOnce(ctx context.Context) (relayed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout+databaseTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		installation, rows, err := take(ctx, tx)
		if err != nil || len(rows) == 0 {
			return err
		}
		rejected, err := r.publish(ctx, installation, rows)
		if err != nil {
			return err
		}
		relayed = len(rows)
		return remove(ctx, tx, rows, rejected)
	})
	if err != nil {
		return 0, fmt.Errorf("relay outbox: %w", err)
	}
	return relayed, r.account(ctx)
}

// take reads a slice under a lock that no other relay gets before this transaction has ended.
func take(ctx context.Context, tx pgx.Tx) (installation string, rows []row, err error) {
	var mine bool
	if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1), (select installation_id::text from installation)", lockRelay).
		Scan(&mine, &installation); err != nil || !mine {
		return "", nil, err
	}
	found, err := tx.Query(ctx, "select outbox_id, topic, key, type, create_time, payload from outbox order by outbox_id limit $1", sliceEvents)
	if err != nil {
		return "", nil, err
	}
	rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		return "", nil, err
	}
	size := 0
	for i := range rows {
		if size += len(rows[i].Payload); size > sliceBytes && i > 0 {
			return installation, rows[:i], nil
		}
	}
	return installation, rows, nil
}

func (r *Relay) publish(ctx context.Context, installation string, rows []row) (rejected int, err error) {
	messages := make([]kafka.RawMessage, len(rows))
	for i, o := range rows {
		// One producer per key: ids rise with the commits of a key only, and readers take a sequence that does not rise
		// for a copy.
		producer := installation + "/" + o.Key
		messages[i] = kafka.RawMessage{
			Topic: o.Topic, Key: o.Key, Value: o.Payload,
			Meta: kafka.Meta{
				ID: kafka.EventID(producer, uint64(o.ID)), Type: o.Type, Source: "/metrics-aggregator", Time: o.Time,
				ProducerID: producer, Sequence: uint64(o.ID),
			},
		}
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err = r.sender.SendRaw(ctx, messages)
	var refused *kafka.RejectedError
	if errors.As(err, &refused) {
		// It would be refused again forever, and hold up all that come after it.
		for _, m := range refused.Messages {
			r.log.Error("event rejected by the broker, window event lost", "event_id", messages[m.Index].Meta.ID,
				"topic", messages[m.Index].Topic, "workload", messages[m.Index].Key, "reason", m.Reason, "err", m.Err)
		}
		r.rejected.Add(float64(len(refused.Messages)))
		return len(refused.Messages), nil
	}
	return 0, err
}

func remove(ctx context.Context, tx pgx.Tx, rows []row, rejected int) error {
	ids := make([]int64, len(rows))
	for i, o := range rows {
		ids[i] = o.ID
	}
	batch := &pgx.Batch{}
	batch.Queue("delete from outbox where outbox_id = any ($1)", ids)
	queueTally(batch, tallyRelayed, len(rows)-rejected)
	if rejected > 0 {
		queueTally(batch, tallyRejected, rejected)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// account reads the ledger in one statement, hence from one snapshot: it balances or something is wrong.
func (r *Relay) account(ctx context.Context) error {
	var seen, relayed, rejected, pending int64
	err := r.pool.QueryRow(ctx, `
		select coalesce(sum(events) filter (where name like 'written by %'), 0)::bigint,
			coalesce(sum(events) filter (where name = $1), 0)::bigint,
			coalesce(sum(events) filter (where name = $2), 0)::bigint,
			(select count(*) from outbox)
		from outbox_tally`, tallyRelayed, tallyRejected).Scan(&seen, &relayed, &rejected, &pending)
	if err != nil {
		return fmt.Errorf("read account of the outbox: %w", err)
	}
	l := metric.Ledger{Hop: Hop, Seen: uint64(seen), Passed: uint64(relayed), Pending: uint64(pending)}
	if rejected > 0 {
		l.Dropped = map[string]uint64{"rejected": uint64(rejected)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = l
	return nil
}
