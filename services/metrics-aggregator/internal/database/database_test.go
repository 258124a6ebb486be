package database_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Open(workload.Secret(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestMigrateIsIdempotentAndConcurrent(t *testing.T) {
	t.Parallel()
	url := embeddedtest.Postgres(t)
	var all sync.WaitGroup
	for range 4 {
		pool := open(t, url)
		all.Go(func() {
			for range 2 {
				if err := database.Migrate(t.Context(), pool); err != nil {
					t.Error(err)
				}
			}
			storage := database.NewStorage(pool)
			now := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
			if err := storage.Maintain(t.Context(), now, 30*24*time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var installations int
	if err := open(t, url).QueryRow(t.Context(), "select count(*) from installation where not timescale").Scan(&installations); err != nil || installations != 1 {
		t.Errorf("%d installations, %v", installations, err)
	}
}

// TestASchemaOfTheNextReleaseIsWorkedWith: as long as it says that it can be.
func TestASchemaOfTheNextReleaseIsWorkedWith(t *testing.T) {
	t.Parallel()
	pool := open(t, embeddedtest.Postgres(t))
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("update schema_version set version = version + 1; alter table traffic_window add column colour text")
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Errorf("a schema to which something was added: %v", err)
	}
	exec("update installation set compatible_from = (select version from schema_version)")
	if err := database.Migrate(t.Context(), pool); err == nil || !strings.Contains(err.Error(), "this one knows") {
		t.Errorf("a schema that it cannot work with: %v", err)
	}
}

// days lists the partitions of a table, without its name.
func days(t *testing.T, pool *pgxpool.Pool, table string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "select inhrelid::regclass::text from pg_inherits where inhparent = $1::regclass order by 1", table)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], table+"_")
	}
	return names
}

func TestDaysComeOnDemandAndGoWithRetention(t *testing.T) {
	t.Parallel()
	pool := open(t, embeddedtest.Postgres(t))
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	storage := database.NewStorage(pool)
	if err := storage.Prepare(t.Context(), now.AddDate(0, 0, -5), now.AddDate(0, 0, -2), now); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "insert into recommendation values ('old', 'shop', $1, ''), ('new', 'shop', $2, '')", now.AddDate(0, 0, -5), now); err != nil {
		t.Fatal(err)
	}
	if err := storage.Maintain(t.Context(), now, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"traffic_window", "traffic_stratum", "usage_window", "usage_instance"} {
		// What began two days before is younger than the retention and a day in part.
		if diff := cmp.Diff([]string{"20260302", "20260304", "20260305"}, days(t, pool, table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
	var left string
	if err := pool.QueryRow(t.Context(), "select string_agg(event_id, ' ') from recommendation").Scan(&left); err != nil || left != "new" {
		t.Errorf("recommendations left: %q, %v", left, err)
	}
}

// TestAClockAheadMakesNothingOld: what goes is what the newest row of its kind makes old, however far the clock has jumped.
func TestAClockAheadMakesNothingOld(t *testing.T) {
	t.Parallel()
	pool := open(t, embeddedtest.Postgres(t))
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	newest := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	within, old := newest.Add(-23*time.Hour), newest.AddDate(0, 0, -4)
	storage := database.NewStorage(pool)
	for _, at := range []time.Time{old, within, newest} {
		if err := storage.Prepare(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			"insert into traffic_window values ('shop', 1, $1, '1 s', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
			"insert into traffic_stratum values ('shop', 1, $1, '1 s', 1, 0, 0, 0, 0, 0, 0, 0, '')",
			"insert into usage_window values ('shop', 1, $1, '1 s', 1, 1, 1)",
			"insert into usage_instance values ('shop', 1, $1, '1 s', 'a', 0, 0, 0, 0, true)",
			"insert into capacity_measurement values ($1::timestamptz::text, 'shop', $1, '')",
			"insert into recommendation values ($1::timestamptz::text, 'shop', $1, '')",
			"insert into scaling_action values ($1::timestamptz::text, 'shop', $1, '')",
			"insert into window_change (workload, environment, kind, start_time, width, commit_time) values ('shop', 1, 1, $1, '1 s', $1)",
			"insert into producer_sequence values ('observed', 0, $1::timestamptz::text, 1, $1)",
		} {
			if _, err := pool.Exec(t.Context(), sql, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := storage.Maintain(t.Context(), newest.AddDate(1, 0, 0), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for table, column := range map[string]string{
		"traffic_window": "start_time", "traffic_stratum": "start_time", "usage_window": "start_time", "usage_instance": "start_time",
		"capacity_measurement": "happen_time", "recommendation": "happen_time", "scaling_action": "happen_time", "window_change": "commit_time",
	} {
		rows, err := pool.Query(t.Context(), "select "+column+" from "+table+" order by 1")
		if err != nil {
			t.Fatal(err)
		}
		left, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Time{within, newest}, left); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
	var producers int // are kept for two weeks
	if err := pool.QueryRow(t.Context(), "select count(*) from producer_sequence").Scan(&producers); err != nil || producers != 3 {
		t.Errorf("%d producers, %v", producers, err)
	}
}

// TestAClockAheadThatDatesRowsMakesNothingOld: usage is dated by the clock that ages it.
func TestAClockAheadThatDatesRowsMakesNothingOld(t *testing.T) {
	t.Parallel()
	pool := open(t, embeddedtest.Postgres(t))
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	ahead := now.AddDate(1, 0, 0)
	storage := database.NewStorage(pool)
	for _, at := range []time.Time{now, ahead} {
		if err := storage.Prepare(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			"insert into usage_window values ('shop', 1, $1, '1 s', 1, 1, 1)",
			"insert into scaling_action values ($1::timestamptz::text, 'shop', $1, '')",
		} {
			if _, err := pool.Exec(t.Context(), sql, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := storage.Maintain(t.Context(), ahead, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"usage_window", "scaling_action"} {
		var left int
		if err := pool.QueryRow(t.Context(), "select count(*) from "+table).Scan(&left); err != nil || left != 2 {
			t.Errorf("%s: %d rows are left, %v", table, left, err)
		}
	}
}

func TestADayThatWasDroppedByAnotherIsMadeAgain(t *testing.T) {
	t.Parallel()
	pool := open(t, embeddedtest.Postgres(t))
	if err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	mine, other := database.NewStorage(pool), database.NewStorage(pool)
	if err := mine.Prepare(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if err := other.Expire(t.Context(), at.AddDate(0, 0, 2), 0); err != nil {
		t.Fatal(err)
	}
	insert := func() error {
		if err := mine.Prepare(t.Context(), at); err != nil {
			return err
		}
		_, err := pool.Exec(t.Context(), "insert into usage_window values ('shop', 1, $1, '1 s', 1, 1, 1)", at)
		return mine.Explain(err)
	}
	if err := insert(); err == nil {
		t.Fatal("a row was written for a day that is gone")
	}
	if err := insert(); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

// TestAServerThatIsReadOnlyIsLeft: connections to one that became a reserve, and stays reachable, are given up, so that the next go to
// whoever has taken over.
func TestAServerThatIsReadOnlyIsLeft(t *testing.T) {
	t.Parallel()
	url := embeddedtest.Postgres(t)
	pool, other := open(t, url), open(t, url)
	if err := database.Ping(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []string{"on", "off"} {
		if _, err := other.Exec(t.Context(), `do $$ begin execute format('alter database %I set default_transaction_read_only = `+readOnly+`', current_database()); end $$`); err != nil {
			t.Fatal(err)
		}
		if readOnly == "on" {
			pool.Reset()
			if err := database.Ping(t.Context(), pool); !errors.Is(err, rpc.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
				t.Fatalf("a server that takes no writes: %v", err)
			}
		}
	}
	if err := database.Ping(t.Context(), pool); err != nil {
		t.Errorf("a server that takes writes: %v", err)
	}
}

func TestErrorsNameTheAddressAndHideThePassword(t *testing.T) {
	t.Parallel()
	pool := open(t, "postgres://aggregator:hunter2@127.0.0.1:1/history")
	err := database.Ping(t.Context(), pool)
	if err == nil || !strings.Contains(err.Error(), "history at 127.0.0.1:1") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("ping of nobody: %v", err)
	}
	if away := database.Away(err); !errors.Is(away, rpc.ErrUnavailable) {
		t.Errorf("a connection that is refused is not unavailable: %v", away)
	}
	if err := database.Check("postgres://u:hunter2@host:notaport/db"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("check of a broken url: %v", err)
	}
	if err := database.Away(context.Canceled); !errors.Is(err, context.Canceled) || errors.Is(err, rpc.ErrUnavailable) {
		t.Errorf("a cancelled call: %v", err)
	}
}
