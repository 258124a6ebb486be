package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverDir is a data directory that the server's user can reach: t.TempDir is closed to others when root runs the
// tests.
func serverDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fspg-unit-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

func testConfig(dir string) PostgresConfig {
	cfg := DefaultPostgresConfig()
	cfg.DataDir, cfg.Unsafe = dir, true
	return cfg
}

func startServer(t *testing.T, cfg PostgresConfig) *Postgres {
	t.Helper()
	server, err := StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return server
}

// query runs one statement and scans its single value into out, unless that is nil.
func query(t *testing.T, url, sql string, out any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if out == nil {
		_, err = conn.Exec(t.Context(), sql)
	} else {
		err = conn.QueryRow(t.Context(), sql).Scan(out)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestPostgresKeepsDataOverAStop(t *testing.T) {
	t.Parallel()
	cfg := testConfig(serverDir(t))
	cfg.Unsafe = false
	server := startServer(t, cfg)
	url, err := server.EnsureDatabase(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	query(t, url, `CREATE TABLE n AS SELECT 42 AS n`, nil)
	var fsync, listen string
	query(t, url, `SHOW fsync`, &fsync)
	query(t, url, `SHOW listen_addresses`, &listen)
	if fsync != "on" || listen != "" {
		t.Errorf("fsync = %q, listen_addresses = %q; want on and none", fsync, listen)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("a server that was stopped: %v", err)
	}

	server = startServer(t, cfg)
	if url, err = server.EnsureDatabase(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	var n int
	query(t, url, `SELECT n FROM n`, &n)
	if n != 42 {
		t.Errorf("read %d after the restart", n)
	}
}

func TestPostgresDiesWithItsParentAndRecovers(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	parent := startHelper(t, "postgres", "HELPER_DIR="+dir)
	query(t, parent.ready, `CREATE TABLE n AS SELECT 7 AS n`, nil)
	conn, err := pgx.Connect(t.Context(), parent.ready)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	parent.kill(t)
	// The open connection ends when the server does; nobody but the kernel can have told it to.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := conn.WaitForNotification(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("server outlived its parent: %v", err)
	}
	// At once: the start has to wait for the predecessor to be gone.
	server := startServer(t, testConfig(dir))
	var n int
	query(t, server.URL(maintenanceDB), `SELECT n FROM n`, &n)
	if n != 7 {
		t.Errorf("read %d after the parent was killed", n)
	}
}

func TestPostgresRecoversFromItsOwnKill(t *testing.T) {
	t.Parallel()
	cfg := testConfig(serverDir(t))
	server := startServer(t, cfg)
	query(t, server.URL(maintenanceDB), `CREATE TABLE n AS SELECT 9 AS n`, nil)
	if err := server.process.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Wait after kill -9 returned %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "postmaster.pid")); err != nil {
		t.Fatalf("this test needs the lock file that a killed server leaves: %v", err)
	}
	server = startServer(t, cfg)
	var n int
	query(t, server.URL(maintenanceDB), `SELECT n FROM n`, &n)
	if n != 9 {
		t.Errorf("read %d after kill -9 of the server", n)
	}
}

func TestStaleLockIsRemovedWhenItsNumberIsAnotherProgramsNow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock := filepath.Join(dir, "postmaster.pid")
	// This test process: it lives, has the same user, and is no PostgreSQL. PostgreSQL itself would refuse to start.
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), dir), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := awaitPredecessor(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stale lock file is still there: %v", err)
	}
}

func TestPostgresReachesASocketWhoseDirectoryHasALongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(filepath.Dir(serverDir(t)), strings.Repeat("long", 25), "data")
	server := startServer(t, testConfig(dir))
	if server.socketDir == dir {
		t.Fatalf("socket lies in %s, whose path no socket can have", dir)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(server.socketDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket directory stays behind: %v", err)
	}
}

func TestPostgresRefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	cfg := testConfig(serverDir(t))
	startServer(t, cfg)
	cfg.StartTimeout = 200 * time.Millisecond
	if _, err := StartPostgres(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is running on that directory") {
		t.Errorf("second server on one directory: %v", err)
	}
}

func TestPostgresRefusesAForeignDirectory(t *testing.T) {
	t.Parallel()
	cfg := testConfig(serverDir(t))
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartPostgres(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "neither empty nor") {
		t.Errorf("started in a directory of somebody else's: %v", err)
	}
}

func TestPostgresMissingNamesPlacesAndRemedy(t *testing.T) {
	t.Parallel()
	cfg := testConfig(serverDir(t))
	cfg.BinDir = t.TempDir()
	_, err := StartPostgres(t.Context(), cfg)
	if !errors.Is(err, ErrNoPostgres) {
		t.Fatalf("error %v, want ErrNoPostgres", err)
	}
	for _, want := range []string{cfg.BinDir, "apt install postgresql", PGBinEnv} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
}

func TestPostgresNamesTheParentItCannotPass(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	closed := filepath.Join(filepath.Dir(serverDir(t)), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), testConfig(filepath.Join(closed, "data")))
	if err == nil || !strings.Contains(err.Error(), "cannot pass "+closed) {
		t.Errorf("error %v does not name %s", err, closed)
	}
}

func TestPostgresConfigValidate(t *testing.T) {
	t.Parallel()
	err := PostgresConfig{DataDir: "relative"}.Validate()
	for _, want := range []string{"data_dir", "max_connections", "start_timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestNewestPostgresFirst(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]int{"/usr/lib/postgresql/15/bin": 15, "/usr/pgsql-9/bin": 9, "/usr/local/pgsql/bin": 0} {
		if got := majorVersion(dir); got != want {
			t.Errorf("majorVersion(%s) = %d, want %d", dir, got, want)
		}
	}
}

// BenchmarkPostgresStart is what a test process pays once: copy the template, start, first connection.
func BenchmarkPostgresStart(b *testing.B) {
	for b.Loop() {
		server, err := StartPostgres(b.Context(), testConfig(serverDir(b)))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := server.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
