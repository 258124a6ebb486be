package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresConfig says where the private PostgreSQL keeps its data.
type PostgresConfig struct {
	// DataDir is created when it does not exist. Its parents must be open to the server's user.
	DataDir string `yaml:"data_dir"`
	// BinDir is where postgres and initdb lie. Empty means $FORESHADOW_PG_BIN, PATH and the usual places.
	BinDir string `yaml:"bin_dir"`
	// CacheDir keeps an initialised cluster to copy from. Empty means the user's cache directory.
	CacheDir string `yaml:"cache_dir"`
	// Unsafe turns off fsync: right for tests only. With it kill -9 loses nothing, a power cut everything.
	Unsafe bool `yaml:"unsafe"`
	// MaxConnections of the server.
	MaxConnections int `yaml:"max_connections"`
	// StartTimeout bounds the start, crash recovery included.
	StartTimeout time.Duration `yaml:"start_timeout"`
}

// DefaultPostgresConfig is durable. DataDir has no default.
func DefaultPostgresConfig() PostgresConfig {
	return PostgresConfig{MaxConnections: 100, StartTimeout: time.Minute}
}

// Validate reports every fault of the configuration at once.
func (c PostgresConfig) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("postgres data_dir %q: want an absolute path", c.DataDir))
	}
	if c.MaxConnections <= 0 {
		errs = append(errs, fmt.Errorf("postgres max_connections %d: must be positive", c.MaxConnections))
	}
	if c.StartTimeout <= 0 {
		errs = append(errs, fmt.Errorf("postgres start_timeout %s: must be positive", c.StartTimeout))
	}
	return errors.Join(errs...)
}

// superuser is the role that owns the cluster, and the database that always exists.
const (
	superuser     = "foreshadow"
	maintenanceDB = "postgres"
)

// Postgres is a running private server. Only processes that can enter its socket directory reach it: those of
// this user, and root.
type Postgres struct {
	socketDir string
	process   *process
	stopped   chan struct{} // closed when the server has ended and its socket directory is gone
}

// StartPostgres finds PostgreSQL, initialises DataDir when it is empty, starts the server and returns when it
// accepts connections. The server ends with this process, also when that is killed (Linux). The caller stops it.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	bin, err := findPostgres(ctx, cfg.BinDir)
	if err != nil {
		return nil, err
	}
	acc, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if err := ensureCluster(ctx, cfg, bin, acc); err != nil {
		return nil, err
	}
	if err := awaitPredecessor(ctx, cfg.DataDir); err != nil {
		return nil, err
	}
	socketDir, remove, err := makeSocketDir(cfg.DataDir, acc)
	if err != nil {
		return nil, err
	}
	process, err := startProcess(acc, bin.path("postgres"), serverArgs(cfg, socketDir)...)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	p := &Postgres{socketDir: socketDir, process: process, stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		<-process.done
		_ = remove() // what stays is an empty directory
	}()
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres in %s: %w", cfg.DataDir, err), p.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// maxSocketPath is what the address of a unix socket holds: 108 bytes on Linux, 104 on macOS, with a NUL.
const maxSocketPath = 103

// makeSocketDir returns where the socket goes: the data directory, which is private to the server's user and leaves
// nothing behind when all are killed, or, when its path is too long for a socket, a new directory in /tmp.
func makeSocketDir(dataDir string, acc account) (dir string, remove func() error, err error) {
	if len(dataDir)+len("/.s.PGSQL.5432") <= maxSocketPath {
		return dataDir, func() error { return nil }, nil
	}
	if dir, err = os.MkdirTemp("/tmp", "fspg-"); err != nil {
		return "", nil, fmt.Errorf("make postgres socket directory: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err := acc.own(dir); err != nil {
		return "", nil, errors.Join(fmt.Errorf("give postgres its socket directory: %w", err), remove())
	}
	return dir, remove, nil
}

func serverArgs(cfg PostgresConfig, socketDir string) []string {
	settings := []string{
		"listen_addresses=", // no TCP: trust authentication relies on the socket directory's permissions
		"unix_socket_directories=" + socketDir,
		"unix_socket_permissions=0700",
		fmt.Sprintf("max_connections=%d", cfg.MaxConnections),
		"shared_buffers=64MB",
		// Parallel queries take their memory from /dev/shm by default, of which a container has 64 MiB.
		"dynamic_shared_memory_type=mmap",
		"log_checkpoints=off",
		"timezone=UTC",
	}
	if cfg.Unsafe {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := []string{"-D", cfg.DataDir}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// awaitReady connects until it works. The process's end is noticed at once.
func (p *Postgres) awaitReady(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, p.URL(maintenanceDB))
		if err == nil {
			return conn.Close(ctx)
		}
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-p.process.done:
			timer.Stop()
			return fmt.Errorf("server ended: %w: %s", p.process.err, p.process.log)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w: %s", ctx.Err(), err, p.process.log)
		}
	}
}

// URL is the connection string of a database of this server. The database is not created by it.
func (p *Postgres) URL(database string) string { return PostgresURL(p.socketDir, database) }

// PostgresURL is the connection string of a database of a private server whose socket is in a directory: its data directory,
// unless the path of that is too long for a socket.
func PostgresURL(socketDir, database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database}
	u.RawQuery = url.Values{"host": {socketDir}, "user": {superuser}}.Encode()
	return u.String()
}

// EnsureDatabase creates a database unless it exists, and returns its URL.
func (p *Postgres) EnsureDatabase(ctx context.Context, database string) (string, error) {
	conn, err := pgx.Connect(ctx, p.URL(maintenanceDB))
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", database, err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // nothing is pending on it
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists); err != nil {
		return "", fmt.Errorf("look for database %s: %w", database, err)
	}
	if !exists {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
			return "", fmt.Errorf("create database %s: %w", database, err)
		}
	}
	return p.URL(database), nil
}

// Stop shuts the server down: open transactions are rolled back, and what was committed is on disk. It waits for
// the end, and kills a server that does not come to it.
func (p *Postgres) Stop(ctx context.Context) error {
	if err := p.process.stop(ctx, 8*time.Second, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	<-p.stopped
	return nil
}

// Wait blocks until the server has ended, by Stop or by itself. Its error holds the end of the server's log.
func (p *Postgres) Wait() error {
	<-p.stopped
	if p.process.err != nil {
		return fmt.Errorf("postgres ended: %w: %s", p.process.err, p.process.log)
	}
	return nil
}
