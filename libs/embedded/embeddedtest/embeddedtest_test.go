package embeddedtest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return conn
}

var migrations atomic.Int32

func migrate(ctx context.Context, url string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `CREATE TABLE number (n bigint PRIMARY KEY)`); err != nil {
		return err
	}
	return conn.Close(ctx)
}

func TestEachTestHasItsOwnDatabaseFromOneMigration(t *testing.T) {
	t.Parallel()
	for range 3 {
		conn := connect(t, embeddedtest.PostgresFrom(t, migrate))
		// The same key each time: it conflicts if two tests share a database.
		if _, err := conn.Exec(t.Context(), `INSERT INTO number VALUES (1)`); err != nil {
			t.Error(err)
		}
	}
	if got := migrations.Load(); got != 1 {
		t.Errorf("migrated %d times, want once", got)
	}
}

func TestPlainDatabaseIsEmpty(t *testing.T) {
	t.Parallel()
	conn := connect(t, embeddedtest.Postgres(t))
	var tables int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("new database has %d tables", tables)
	}
}

func TestBrokerIsShared(t *testing.T) {
	t.Parallel()
	if a, b := embeddedtest.Broker(t), embeddedtest.Broker(t); a != b {
		t.Errorf("two brokers in one process: %s and %s", a, b)
	}
}
