package main

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
)

// State implements aggregator.Instances.
func (f fixed) State(context.Context, string) (platform.State, error) { return platform.State{}, nil }

// Usage implements shadowrunner.Instances.
func (f fixed) Usage(context.Context, string) ([]platform.Usage, error) { return nil, nil }

// behind is what follows the tap: the real runner, with a shadow at the target, and the real aggregator, without its database.
func behind(ctx context.Context, o partOptions) error {
	k := kafka.Default()
	k.Brokers = []string{o.broker}
	w := shop()
	registry := telemetry.NewRegistry()
	admin := telemetry.NewAdmin(registry)
	runner := shadowrunner.DefaultConfig()
	runner.Listen = "127.0.0.1:0"
	r, err := shadowrunner.New(runner, shadowrunner.Deps{
		Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: admin, Kafka: k, Workloads: []workload.Workload{w}, Instances: fixed(o.target),
	})
	if err != nil {
		return fmt.Errorf("make the runner: %w", err)
	}
	cfg := aggregator.DefaultConfig()
	cfg.Listen, cfg.Database = "127.0.0.1:0", "postgres://127.0.0.1:1/none"
	a, err := aggregator.New(cfg, aggregator.Deps{
		Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: admin, Kafka: k, Workloads: []workload.Workload{w}, Instances: fixed(o.target),
	})
	if err != nil {
		return fmt.Errorf("make the aggregator: %w", err)
	}
	fmt.Println("behind")
	var both errgroup.Group
	both.Go(func() error { return r.Run(ctx) })
	both.Go(func() error { return a.Run(ctx) })
	return both.Wait()
}
