package database

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const day = 24 * time.Hour

// windowTables are those that are stored by day.
var windowTables = [...]string{"traffic_window", "traffic_stratum", "usage_window", "usage_instance"}

// Storage keeps the days of the window tables. It is safe for concurrent use.
type Storage struct {
	pool *pgxpool.Pool

	mu sync.Mutex
	// known are days that have partitions; nil until the first look, and again when that turned out to be wrong.
	known     map[time.Time]bool
	timescale bool
}

// NewStorage returns the storage of a database that Migrate has been called on, or will be.
func NewStorage(pool *pgxpool.Pool) *Storage { return &Storage{pool: pool} }

// Prepare makes room for rows of the given start times. It must come before the transaction that writes them:
// a partition made inside it would be locked until its end.
func (s *Storage) Prepare(ctx context.Context, starts ...time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		timescale, err := isTimescale(ctx, s.pool)
		if err != nil {
			return err
		}
		s.timescale, s.known = timescale, map[time.Time]bool{}
	}
	if s.timescale {
		return nil
	}
	for _, start := range starts {
		d := start.UTC().Truncate(day)
		if s.known[d] {
			continue
		}
		for _, table := range windowTables {
			if err := s.createDay(ctx, table, d); err != nil {
				return err
			}
		}
		s.known[d] = true
	}
	return nil
}

// Explain looks at the error of a write: when a day that was there is gone (another aggregator with a shorter retention
// has dropped it), it is made again before the next attempt.
func (s *Storage) Explain(err error) error {
	if hasCode(err, checkViolation) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known = nil
	}
	return err
}

const dayLayout = "20060102"

func partitionName(table string, d time.Time) string { return table + "_" + d.Format(dayLayout) }

// createDay is one transaction per table: one that held two tables could deadlock with a writer. Attaching a table does
// not lock out readers and writers of the others, as creating it in place would.
func (s *Storage) createDay(ctx context.Context, table string, d time.Time) error {
	name := partitionName(table, d)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", lockStorage); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", name).Scan(&there); err != nil || there {
			return err
		}
		from, to := d.Format(time.RFC3339), d.Add(day).Format(time.RFC3339)
		_, err := tx.Exec(ctx, fmt.Sprintf(`create table %[1]s (like %[2]s including defaults);
			alter table %[2]s attach partition %[1]s for values from ('%[3]s') to ('%[4]s')`, name, table, from, to))
		return err
	})
	if err != nil {
		return fmt.Errorf("create partition %s: %w", name, err)
	}
	return nil
}

// dropLockTimeout: dropping a day locks out writers for a moment; when it has to wait, it is tried again later.
const dropLockTimeout = 2 * time.Second

// Expire drops whole days that ended longer than keep ago: before now, or before the newest day that holds rows when now is
// later. A clock that jumps ahead makes nothing old.
func (s *Storage) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	for _, table := range windowTables {
		if !s.timescale {
			if err := s.expireDays(ctx, table, now, keep); err != nil {
				return err
			}
			continue
		}
		last, err := s.newest(ctx, table, "start_time", now)
		if err != nil {
			return err
		}
		if _, err := s.pool.Exec(ctx, "select drop_chunks($1::regclass, older_than => $2::timestamptz)", table, last.Add(-keep)); err != nil {
			return fmt.Errorf("drop chunks of %s: %w", table, err)
		}
	}
	return nil
}

// newest is the time of the newest row; now when that is earlier, or when there is none.
func (s *Storage) newest(ctx context.Context, table, column string, now time.Time) (time.Time, error) {
	var at time.Time
	if err := s.pool.QueryRow(ctx, fmt.Sprintf("select least($1, max(%s)) from %s", column, table), now).Scan(&at); err != nil {
		return at, fmt.Errorf("find the newest row of %s: %w", table, err)
	}
	return at, nil
}

// newestDay is newest for a table in days, to the end of the day: no index leads to the row itself. The names are in order.
func (s *Storage) newestDay(ctx context.Context, table string, names []string, now time.Time) (time.Time, error) {
	for _, name := range slices.Backward(names) {
		var holds bool
		if err := s.pool.QueryRow(ctx, "select exists (select from "+pgx.Identifier{name}.Sanitize()+")").Scan(&holds); err != nil {
			return now, fmt.Errorf("look into partition %s: %w", name, err)
		}
		if !holds {
			continue
		}
		d, err := time.Parse(dayLayout, strings.TrimPrefix(name, table+"_"))
		if err != nil {
			return now, fmt.Errorf("read the day of partition %s: %w", name, err)
		}
		if end := d.Add(day); end.Before(now) {
			return end, nil
		}
		break
	}
	return now, nil
}

func (s *Storage) expireDays(ctx context.Context, table string, now time.Time, keep time.Duration) error {
	rows, err := s.pool.Query(ctx, `select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent = $1::regclass order by 1`, table)
	if err != nil {
		return fmt.Errorf("list partitions of %s: %w", table, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list partitions of %s: %w", table, err)
	}
	last, err := s.newestDay(ctx, table, names, now)
	if err != nil {
		return err
	}
	kept, _ := slices.BinarySearch(names, partitionName(table, last.Add(-keep).UTC().Truncate(day)))
	names = names[:kept]
	for _, name := range names {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d; drop table if exists %s",
				dropLockTimeout.Milliseconds(), pgx.Identifier{name}.Sanitize()))
			return err
		})
		if err != nil {
			return fmt.Errorf("drop partition %s: %w", name, err)
		}
	}
	if len(names) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known = nil
	}
	return nil
}

// Tables without days, and the column that tells a row's age. All but the decisions are kept only as long as they can
// still be of use: an event is re-sent, and a stream catches up, within minutes.
var agingTables = [...]struct {
	table, column string
	keep          time.Duration // 0 = the retention
}{
	{"producer_sequence", "update_time", 14 * day},
	{"window_change", "commit_time", ChangesKept},
	{"capacity_measurement", "happen_time", 0},
	{"recommendation", "happen_time", 0},
	{"scaling_action", "happen_time", 0},
}

// maintainTimeout bounds one round; what is left over comes in the next.
const maintainTimeout = 5 * time.Minute

// ChangesKept is how long a change of a window can be followed.
const ChangesKept = day

// Maintain drops what has expired and makes the days ahead. What has expired is judged by the earliest of now, the clock of
// the database, and the newest row of its kind: what was dropped does not come back when a clock that jumped ahead does. The
// newest row alone would not do where rows are dated by the very clock that jumped, as those of usage are.
func (s *Storage) Maintain(ctx context.Context, now time.Time, retention time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, maintainTimeout)
	defer cancel()
	if err := s.Prepare(ctx, now, now.Add(day)); err != nil {
		return err
	}
	if err := s.pool.QueryRow(ctx, "select least($1, now())", now).Scan(&now); err != nil {
		return fmt.Errorf("read the clock of the database: %w", err)
	}
	// A day more, so that a row that was accepted a moment ago is not about to go.
	if err := s.Expire(ctx, now, retention+day); err != nil {
		return err
	}
	for _, a := range agingTables {
		keep := a.keep
		if keep == 0 {
			keep = retention
		}
		last, err := s.newest(ctx, a.table, a.column, now)
		if err != nil {
			return err
		}
		sql := fmt.Sprintf("delete from %s where %s < $1", a.table, a.column)
		if _, err := s.pool.Exec(ctx, sql, last.Add(-keep)); err != nil {
			return fmt.Errorf("expire rows of %s: %w", a.table, err)
		}
	}
	return nil
}
