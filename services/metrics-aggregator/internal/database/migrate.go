package database

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Keys of the advisory locks this service takes, in its own space (the first of two numbers is the class).
const (
	lockMigrate int64 = 0x666f726573_01 // "fores", then a number
	lockStorage int64 = 0x666f726573_02
)

// Migrate brings the schema up to date. It may be called again and by several processes at once.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	acquired, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate: reach %s: %w", Address(pool), err)
	}
	defer acquired.Release()
	conn := acquired.Conn()
	// tern locks each of its steps, but not the choice of the storage before them.
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", lockMigrate); err != nil {
		return fmt.Errorf("lock for migration: %w", err)
	}
	err = migrateLocked(ctx, conn)
	if _, unlockErr := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", lockMigrate); err == nil && unlockErr != nil {
		err = fmt.Errorf("unlock after migration: %w", unlockErr)
	}
	return err
}

func migrateLocked(ctx context.Context, conn *pgx.Conn) error {
	timescale, err := chooseStorage(ctx, conn)
	if err != nil {
		return err
	}
	migrator, err := migrate.NewMigrator(ctx, conn, "schema_version")
	if err != nil {
		return fmt.Errorf("prepare migration: %w", err)
	}
	migrator.Data["timescale"] = timescale
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := migrator.LoadMigrations(files); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	newer, err := isNewer(ctx, conn, migrator)
	if err != nil || newer {
		return err
	}
	if err := migrator.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// isNewer says whether a newer release has migrated the schema, and its error that this one cannot work with it.
func isNewer(ctx context.Context, conn *pgx.Conn, migrator *migrate.Migrator) (bool, error) {
	current, err := migrator.GetCurrentVersion(ctx)
	if err != nil {
		return false, fmt.Errorf("read the version of the schema: %w", err)
	}
	known := int32(len(migrator.Migrations)) // #nosec G115: there are a few
	if current <= known {
		return false, nil
	}
	var from int32
	if err := conn.QueryRow(ctx, "select compatible_from from installation").Scan(&from); err != nil {
		return true, fmt.Errorf("read what the schema, version %d, is compatible with: %w", current, err)
	}
	if known < from {
		return true, fmt.Errorf("the schema is version %d, which programs of version %d and above can work with; this one knows %d", current, from, known)
	}
	return true, nil
}

// chooseStorage says whether the window tables are hypertables. What an earlier migration chose stays; a new database
// takes TimescaleDB when the server has loaded it: the extension cannot be created otherwise, only be installed.
func chooseStorage(ctx context.Context, conn *pgx.Conn) (timescale bool, err error) {
	var chosen bool
	if err := conn.QueryRow(ctx, "select to_regclass('installation') is not null").Scan(&chosen); err != nil {
		return false, fmt.Errorf("look for an earlier migration: %w", err)
	}
	if chosen {
		return isTimescale(ctx, conn)
	}
	// pg_settings leaves the row out for a role that may not see it; such a role finds the extension created for it.
	err = conn.QueryRow(ctx, `
		select exists (select from pg_extension where extname = 'timescaledb')
			or exists (select from pg_available_extensions where name = 'timescaledb')
			and exists (select from pg_settings where name = 'shared_preload_libraries'
				and 'timescaledb' = any (regexp_split_to_array(setting, '[\s,"]+')))`).Scan(&timescale)
	if err != nil {
		return false, fmt.Errorf("look for timescaledb: %w", err)
	}
	if timescale {
		if _, err := conn.Exec(ctx, "create extension if not exists timescaledb"); err != nil {
			return false, fmt.Errorf("create extension timescaledb: %w", err)
		}
	}
	return timescale, nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func isTimescale(ctx context.Context, q querier) (timescale bool, err error) {
	if err := q.QueryRow(ctx, "select timescale from installation").Scan(&timescale); err != nil {
		return false, fmt.Errorf("read which storage was chosen: %w", err)
	}
	return timescale, nil
}
