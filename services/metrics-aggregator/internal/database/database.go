package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	connectTimeout = 5 * time.Second
	// maxConnections serves one chunk per partition in flight, the relay, the collectors and some queries.
	maxConnections = 16
)

// Check parses a URL. Its error never holds the password.
func Check(url workload.Secret) error {
	if _, err := pgxpool.ParseConfig(url.Reveal()); err != nil {
		return fmt.Errorf("database url: %w", err)
	}
	return nil
}

// Open returns a pool that connects when first used. Its errors never hold the password.
func Open(url workload.Secret) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url.Reveal())
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.RuntimeParams["application_name"] = "foreshadow-metrics-aggregator"
	cfg.MaxConns = maxConnections
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // the context bounds nothing but eager connections
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	return pool, nil
}

// Address names the server a pool connects to, for people.
func Address(pool *pgxpool.Pool) string {
	c := pool.Config().ConnConfig
	network, address := pgconn.NetworkAddress(c.Host, c.Port)
	if network == "unix" {
		return fmt.Sprintf("database %s at %s", c.Database, address)
	}
	return fmt.Sprintf("database %s at %s", c.Database, net.JoinHostPort(c.Host, fmt.Sprint(c.Port)))
}

// Ping proves address, credentials and database, and that it takes writes. Where it does not, the pool leaves the server: after a
// failover it may be the one in reserve, and connections to it would last.
func Ping(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var readOnly bool
	if err := pool.QueryRow(ctx, "select current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil {
		return fmt.Errorf("reach %s: %w", Address(pool), unreachable{err})
	}
	if readOnly {
		pool.Reset()
		return fmt.Errorf("%s is read-only: %w", Address(pool), rpc.ErrUnavailable)
	}
	return nil
}

// unreachable says in one line why no connection came about: the driver lists every attempt, with TLS and without, of which
// the last says it all.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

func (u unreachable) Error() string {
	attempts := strings.Split(strings.TrimSpace(u.error.Error()), "\n")
	if len(attempts) == 1 {
		return attempts[0]
	}
	return strings.TrimSpace(attempts[0]) + " " + strings.TrimSpace(attempts[len(attempts)-1])
}

// Away wraps an error of the database that another attempt may not meet in rpc.ErrUnavailable.
func Away(err error) error {
	var refused *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, pgx.ErrNoRows):
		return err
	case !errors.As(err, &refused):
		return fmt.Errorf("%w: %w", rpc.ErrUnavailable, err) // the connection broke, or could not be made
	}
	switch refused.Code[:2] {
	case "08", "53", "57", "58", "28", "3D", "40": // connection, resources, shutdown, i/o, credentials, rollback
		return fmt.Errorf("%w: %w", rpc.ErrUnavailable, err)
	}
	if refused.Code == undefinedTable {
		return fmt.Errorf("%w: the database is not migrated yet", rpc.ErrUnavailable)
	}
	return err
}

const (
	undefinedTable = "42P01"
	checkViolation = "23514" // a row whose day has no partition, too
)

func hasCode(err error, code string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == code
}
