// Package embeddedtest gives tests a real broker and a real PostgreSQL: one of each per test process, started when
// first asked for, and one database per test. A test that needs PostgreSQL on a machine that has none fails, with
// what to install: it does not skip.
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
//
//	func TestStore(t *testing.T) {
//		url := embeddedtest.PostgresFrom(t, migrate)
//		addr := embeddedtest.Broker(t)
//	}
package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/filelock"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// Main runs the tests, stops what they started, and then looks for goroutines that are left. Call it from TestMain.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop embedded servers:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// servers are the ones of this test process.
type servers struct {
	mu       sync.Mutex
	broker   *embedded.Broker
	postgres *embedded.Postgres
	dir      string
	lock     *os.File
	// templates are databases that a migration has run on, by migration function.
	templates map[uintptr]string
	databases atomic.Int64
}

// shared is the one global: TestMain has no way to hand anything to a test.
var shared = &servers{templates: map[uintptr]string{}}

const startTimeout = time.Minute

// brokerVariable names a broker to test against instead of the embedded one: `make test-kafka` sets it.
const brokerVariable = "FORESHADOW_TEST_BROKER"

// Broker returns the address of a broker that keeps its log in RAM. Topics are shared by the tests of the process:
// give them different names.
func Broker(t testing.TB) string {
	t.Helper()
	if addr := os.Getenv(brokerVariable); addr != "" {
		return addr
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.broker == nil {
		cfg := embedded.DefaultBrokerConfig()
		cfg.Listen = "127.0.0.1:0"
		broker, err := embedded.StartBroker(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		shared.broker = broker
	}
	return shared.broker.Addr()
}

// Postgres returns the URL of an empty database of this test's own. It is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	return newDatabase(t, "template0")
}

// PostgresFrom returns the URL of a database of this test's own that migrate has run on. migrate runs once per
// process on a template; each test gets a clone of it. It must be a declared function: it is recognised by its
// code, so a closure over different values would get the first one's template.
func PostgresFrom(t testing.TB, migrate func(ctx context.Context, url string) error) string {
	t.Helper()
	return newDatabase(t, template(t, migrate))
}

func template(t testing.TB, migrate func(ctx context.Context, url string) error) string {
	t.Helper()
	server := start(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	key := reflect.ValueOf(migrate).Pointer()
	if name, ok := shared.templates[key]; ok {
		return name
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	name := fmt.Sprintf("template_%d", len(shared.templates))
	url, err := server.EnsureDatabase(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(ctx, url); err != nil {
		t.Fatalf("migrate template database: %v", err)
	}
	shared.templates[key] = name
	return name
}

func newDatabase(t testing.TB, template string) string {
	t.Helper()
	server := start(t)
	name := fmt.Sprintf("test_%d", shared.databases.Add(1))
	admin(t, server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template))
	t.Cleanup(func() { admin(t, server, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)) })
	return server.URL(name)
}

func admin(t testing.TB, server *embedded.Postgres, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer conn.Close(ctx) // nothing is pending on it
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func start(t testing.TB) *embedded.Postgres {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.postgres != nil {
		return shared.postgres
	}
	if shared.dir == "" {
		dir, lock, err := makeDir()
		if err != nil {
			t.Fatal(err)
		}
		shared.dir, shared.lock = dir, lock
	}
	cfg := embedded.DefaultPostgresConfig()
	cfg.DataDir = filepath.Join(shared.dir, "data")
	cfg.Unsafe = true
	// Tests run in parallel and each has its pool.
	cfg.MaxConnections = 300
	// The server outlives the test that happens to be the first to ask for it.
	server, err := embedded.StartPostgres(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	shared.postgres = server
	return server
}

func (s *servers) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker != nil {
		s.broker.Close()
	}
	var errs []error
	if s.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		errs = append(errs, s.postgres.Stop(ctx))
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir), s.lock.Close())
	}
	return errors.Join(errs...)
}

const dirPrefix = "fspg-test-"

// makeDir makes this process's directory, and removes those of test processes that were killed: each holds a lock
// on its own for as long as it lives. It lies in /tmp and not in t.TempDir, whose parents another user cannot pass.
func makeDir() (string, *os.File, error) {
	entries, err := os.ReadDir("/tmp")
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), dirPrefix) {
			removeAbandoned(filepath.Join("/tmp", e.Name()))
		}
	}
	dir, err := os.MkdirTemp("/tmp", dirPrefix)
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // #nosec G302: the server's user must pass
		return "", nil, err
	}
	// Locked before it gets its name: another process that cleans up sees either no lock or one that is held.
	unnamed := filepath.Join(dir, "lock.new")
	lock, err := os.OpenFile(unnamed, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	if err := filelock.Try(lock); err != nil {
		return "", nil, err
	}
	return dir, lock, os.Rename(unnamed, filepath.Join(dir, "lock"))
}

// removeAbandoned is best effort: what cannot be opened belongs to somebody else.
func removeAbandoned(dir string) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer lock.Close() // opened only for its lock
	if filelock.Try(lock) == nil {
		_ = os.RemoveAll(dir)
	}
}
