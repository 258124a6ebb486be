package window

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// dictionary knows the numbers of strata. Numbers are given outside of the transactions that use them and never change.
type dictionary struct {
	pool *pgxpool.Pool

	mu  sync.Mutex
	ids map[traffic.Stratum]int32
}

// learn makes sure that id knows all of the strata.
func (d *dictionary) learn(ctx context.Context, strata map[traffic.Stratum]bool) error {
	var routes, geographies, devices, networks []string
	d.mu.Lock()
	for s := range strata {
		if _, known := d.ids[s]; !known {
			routes, geographies = append(routes, s.Route), append(geographies, s.Geography)
			devices, networks = append(devices, s.Device), append(networks, s.Network)
		}
	}
	d.mu.Unlock()
	if len(routes) == 0 {
		return nil
	}
	const list = `unnest($1::text[], $2::text[], $3::text[], $4::text[]) as k (route, geography, device, network)`
	learned := map[traffic.Stratum]int32{}
	batch := &pgx.Batch{}
	// In order, so that two writers that add the same strata wait for each other instead of deadlocking.
	batch.Queue(`insert into stratum (route, geography, device, network) select route, geography, device, network from `+list+
		` order by 1, 2, 3, 4 on conflict do nothing`, routes, geographies, devices, networks)
	batch.Queue(`select stratum_id, route, geography, device, network from `+list+` join stratum using (route, geography, device, network)`,
		routes, geographies, devices, networks).Query(func(rows pgx.Rows) error {
		var id int32
		var s traffic.Stratum
		_, err := pgx.ForEachRow(rows, []any{&id, &s.Route, &s.Geography, &s.Device, &s.Network}, func() error {
			learned[s] = id
			return nil
		})
		return err
	})
	if err := d.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("number %d strata: %w", len(routes), err)
	}
	// Only now: what was read before a commit that failed are numbers that nobody has.
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(d.ids, learned)
	return nil
}

func (d *dictionary) id(s traffic.Stratum) (id int32, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, known = d.ids[s]
	return id, known
}
