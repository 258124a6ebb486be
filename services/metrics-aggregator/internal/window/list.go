package window

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Range selects windows of one workload and environment that start in [From, To).
type Range struct {
	Workload    string
	Environment foreshadowv1.Environment
	From, To    time.Time
}

// Position is a place in the order of windows: by start, then by width. The zero value is before all.
type Position struct {
	Start time.Time
	Width time.Duration
}

// Item is a window, ready to be sent.
type Item struct {
	Position Position
	Window   *foreshadowv1.MetricsWindowed
}

// snapshot runs several reads on one state of the database.
func snapshot(ctx context.Context, pool *pgxpool.Pool, read func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, read)
}

const inRange = `workload = $1 and environment = $2 and start_time >= $3 and start_time < $4 and (start_time, width) > ($5, $6)
	order by start_time, width limit $7`

func (r Range) args(after Position, limit int) []any {
	from, start := r.From, after.Start
	if start.IsZero() {
		start = time.Unix(math.MinInt32, 0) // timestamptz does not reach back to Go's zero time in every client
	}
	if start.After(from) {
		from = start
	}
	return []any{r.Workload, int16(r.Environment), from, r.To, start, after.Width, limit}
}

const (
	// MaxStrata is about how many strata are held at once: a window may have thousands, and half a kilobyte each.
	MaxStrata = 20_000
	// firstLoad windows say how many strata the others have.
	firstLoad = 10
)

// ListTraffic returns up to limit traffic windows after a position, with their strata: fewer where they have many strata, and none
// only when there are no more.
func ListTraffic(ctx context.Context, pool *pgxpool.Pool, r Range, after Position, limit int) ([]Key, map[Key]*Traffic, error) {
	found := map[Key]*Traffic{}
	var keys []Key
	err := snapshot(ctx, pool, func(tx pgx.Tx) error {
		var err error
		if keys, err = listKeys(ctx, tx, "traffic_window", r, after, limit); err != nil || len(keys) == 0 {
			return err
		}
		for read, next := 0, firstLoad; read < len(keys); {
			n := min(next, len(keys)-read)
			batch := &pgx.Batch{}
			queueLoad(batch, keys[read:read+n], found)
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
			read += n
			strata := 0
			for _, w := range found {
				strata += len(w.Strata)
			}
			if strata >= MaxStrata {
				keys = keys[:read]
			}
			next = max(1, (MaxStrata-strata)*read/max(1, strata))
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list traffic windows: %w", err)
	}
	return keys, found, nil
}

// ListUsage returns up to limit usage windows after a position.
func ListUsage(ctx context.Context, pool *pgxpool.Pool, r Range, after Position, limit int) ([]Item, error) {
	var items []Item
	err := snapshot(ctx, pool, func(tx pgx.Tx) error {
		keys, err := listKeys(ctx, tx, "usage_window", r, after, limit)
		if err != nil {
			return err
		}
		found, err := LoadUsage(ctx, tx, keys)
		for _, k := range keys {
			if u := found[k]; u != nil {
				items = append(items, Item{Position{k.Start, k.Width}, u.Proto(k)})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list usage windows: %w", err)
	}
	return items, nil
}

func listKeys(ctx context.Context, tx pgx.Tx, table string, r Range, after Position, limit int) ([]Key, error) {
	rows, err := tx.Query(ctx, "select workload, environment, start_time, width from "+table+" where "+inRange, r.args(after, limit)...)
	if err != nil {
		return nil, err
	}
	var keys []Key
	var k rawKey
	_, err = pgx.ForEachRow(rows, k.targets(), func() error { keys = append(keys, k.key()); return nil })
	return keys, err
}

// ListTotals returns up to limit traffic windows after a position, without strata and latencies.
func ListTotals(ctx context.Context, pool *pgxpool.Pool, r Range, after Position, limit int) ([]Item, error) {
	rows, err := pool.Query(ctx, `select start_time, width, extract(epoch from width)::double precision, revision, max_in_flight, max_lag_seconds,
		requests, responses, errors, slo_violations, request_bytes, response_bytes, sampled
		from traffic_window where `+inRange, r.args(after, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list totals: %w", err)
	}
	return scanTotals(rows, r)
}

// SumTotals merges the windows of each step, aligned to the epoch, and returns up to limit of those that hold any. The
// duration of a step is the time that windows exist for: a step with holes does not look like one with less traffic.
func SumTotals(ctx context.Context, pool *pgxpool.Pool, r Range, step time.Duration, after Position, limit int) ([]Item, error) {
	if !after.Start.IsZero() {
		r.From = maxTime(r.From, after.Start.Add(step))
	}
	// The first window that is there bounds the rows to read: holes may be long, steps many.
	var first *time.Time
	err := pool.QueryRow(ctx, "select min(start_time) from traffic_window where workload = $1 and environment = $2 and start_time >= $3 and start_time < $4",
		r.Workload, int16(r.Environment), r.From, r.To).Scan(&first)
	if err != nil {
		return nil, fmt.Errorf("sum totals: %w", err)
	}
	if first == nil {
		return nil, nil
	}
	r.From = maxTime(r.From, metric.WindowStart(*first, step))
	last := metric.WindowStart(*first, step).Add(time.Duration(limit) * step)
	if r.To.Before(last) {
		last = r.To
	}
	rows, err := pool.Query(ctx, `select date_bin($5, start_time, timestamptz 'epoch') as step, $5::interval,
			extract(epoch from sum(width))::double precision, max(revision), max(max_in_flight), max(max_lag_seconds),
			sum(requests)::bigint, sum(responses)::bigint, sum(errors)::bigint, sum(slo_violations)::bigint,
			sum(request_bytes)::bigint, sum(response_bytes)::bigint, sum(sampled)::bigint
		from traffic_window where workload = $1 and environment = $2 and start_time >= $3 and start_time < $4
		group by step order by step`, r.Workload, int16(r.Environment), r.From, last, step)
	if err != nil {
		return nil, fmt.Errorf("sum totals: %w", err)
	}
	return scanTotals(rows, r)
}

func scanTotals(rows pgx.Rows, r Range) ([]Item, error) {
	var at Position
	var duration, maxLag float64
	var revision, maxInFlight int64
	var n counters
	var items []Item
	targets := append([]any{&at.Start, &at.Width, &duration, &revision, &maxInFlight, &maxLag}, n.targets()...)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		c, err := n.read(nil)
		if err != nil {
			return err
		}
		total := c.Proto()
		total.Latency = nil
		items = append(items, Item{Position{at.Start.UTC(), at.Width}, &foreshadowv1.MetricsWindowed{
			Workload: r.Workload, Environment: r.Environment, StartTime: timestamppb.New(at.Start), DurationSeconds: duration,
			Revision: uint64(revision),
			Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{
				Strata: []*foreshadowv1.Traffic{total}, MaxInFlight: uint32(maxInFlight), MaxLagSeconds: maxLag,
			}},
		}})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read totals: %w", err)
	}
	return items, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
