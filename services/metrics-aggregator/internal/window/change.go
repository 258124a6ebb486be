package window

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// LastChange returns the id of the newest change of a workload's windows; 0 when there is none. Changes of a workload are
// numbered in the order of their commits, so every window read after this call holds all changes up to it.
func LastChange(ctx context.Context, pool *pgxpool.Pool, workload string) (int64, error) {
	var id int64
	err := pool.QueryRow(ctx, "select coalesce(max(change_id), 0) from window_change where workload = $1", workload).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("find the newest change: %w", err)
	}
	return id, nil
}

// Changed returns the windows that changed after a change, each once and whole, in the order they changed first, and the
// id to go on from. It looks at no more than limit changes.
func Changed(ctx context.Context, pool *pgxpool.Pool, workload string, after int64, limit int) (windows []*foreshadowv1.MetricsWindowed, last int64, err error) {
	type change struct {
		kind foreshadowv1.WindowKind
		key  Key
	}
	last = after
	err = snapshot(ctx, pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select workload, environment, start_time, width, kind, change_id from window_change
			where workload = $1 and change_id > $2 order by change_id limit $3`, workload, after, limit)
		if err != nil {
			return err
		}
		var k rawKey
		var kind int16
		var changes []change
		seen := map[change]bool{}
		keys := map[foreshadowv1.WindowKind][]Key{}
		if _, err := pgx.ForEachRow(rows, k.targets(&kind, &last), func() error {
			c := change{foreshadowv1.WindowKind(kind), k.key()}
			if !seen[c] {
				seen[c] = true
				changes = append(changes, c)
				keys[c.kind] = append(keys[c.kind], c.key)
			}
			return nil
		}); err != nil {
			return err
		}
		traffic, err := Load(ctx, tx, keys[foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC])
		if err != nil {
			return err
		}
		usage, err := LoadUsage(ctx, tx, keys[foreshadowv1.WindowKind_WINDOW_KIND_USAGE])
		if err != nil {
			return err
		}
		for _, c := range changes {
			if w := traffic[c.key]; w != nil && c.kind == foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC {
				windows = append(windows, w.Proto(c.key))
			} else if w := usage[c.key]; w != nil && c.kind == foreshadowv1.WindowKind_WINDOW_KIND_USAGE {
				windows = append(windows, w.Proto(c.key))
			}
		}
		return nil
	})
	if err != nil {
		return nil, after, fmt.Errorf("read changes after %d: %w", after, err)
	}
	return windows, last, nil
}
