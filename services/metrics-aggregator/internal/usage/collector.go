package usage

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

// Instances is what the collector asks of a platform.
type Instances interface {
	State(ctx context.Context, group string) (platform.State, error)
	Usage(ctx context.Context, group string) ([]platform.Usage, error)
}

// Saver stores a usage window once, whoever comes first.
type Saver interface {
	SaveUsage(ctx context.Context, k window.Key, u *window.Usage) error
}

// Status is told how the platform fares.
type Status interface {
	NotReady(part, reason string)
	Ready(part string)
}

// Config is what a collector needs.
type Config struct {
	Instances Instances
	Saver     Saver
	Bell      *notify.Bell
	Status    Status
	Log       *slog.Logger
	Workloads []workload.Workload
	// Interval is the width of the usage windows. It must not be shorter than the platform's own readings are apart.
	Interval   time.Duration
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Collector reads the usage of all groups, each by itself: a platform that hangs for one does not hold up the others.
type Collector struct {
	cfg      Config
	readings *prometheus.CounterVec
}

// New returns a collector; it works while Run runs.
func New(cfg Config) (*Collector, error) {
	c := &Collector{cfg: cfg, readings: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foreshadow_aggregator_usage_windows_total", Help: "Usage windows by outcome: saved, or absent because the platform or the database did not answer.",
	}, []string{"workload", "environment", "outcome"})}
	if err := cfg.Registerer.Register(c.readings); err != nil {
		return nil, fmt.Errorf("register metrics of the usage collector: %w", err)
	}
	return c, nil
}

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range c.cfg.Workloads {
		for environment, target := range map[foreshadowv1.Environment]workload.Target{
			foreshadowv1.Environment_ENVIRONMENT_PRODUCTION: w.Production,
			foreshadowv1.Environment_ENVIRONMENT_SHADOW:     w.Shadow,
		} {
			if target.Group == "" {
				continue
			}
			g := &group{collector: c, workload: w.Name, environment: environment, name: target.Group}
			all.Go(func() { g.run(ctx) })
		}
	}
	all.Wait()
}

// group is the collection of one group of instances.
type group struct {
	collector   *Collector
	workload    string
	environment foreshadowv1.Environment
	name        string

	before map[string]platform.Usage
	failed bool
}

func (g *group) run(ctx context.Context) {
	c := g.collector
	for ctx.Err() == nil {
		end := metric.WindowStart(c.cfg.Now(), c.cfg.Interval).Add(c.cfg.Interval)
		timer := time.NewTimer(end.Sub(c.cfg.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		g.report(ctx, g.collect(ctx))
	}
}

// collect reads the platform at the end of a window and saves what it says of the window that has just ended.
func (g *group) collect(ctx context.Context) error {
	cfg := g.collector.cfg
	start := metric.WindowStart(cfg.Now(), cfg.Interval).Add(-cfg.Interval)
	ctx, cancel := context.WithTimeout(ctx, max(cfg.Interval, time.Second))
	defer cancel()
	state, err := cfg.Instances.State(ctx, g.name)
	if err != nil {
		return fmt.Errorf("read state of group %q: %w", g.name, err)
	}
	now, err := cfg.Instances.Usage(ctx, g.name)
	if err != nil {
		return fmt.Errorf("read usage of group %q: %w", g.name, err)
	}
	// Twice the interval lets a reading be late, and not one be missing.
	rates := Rates(g.before, now, 2*cfg.Interval)
	give(rates, state.Instances)
	g.before = make(map[string]platform.Usage, len(now))
	for _, u := range now {
		g.before[u.Instance] = u
	}
	key := window.Key{Workload: g.workload, Environment: g.environment, Start: start, Width: cfg.Interval}
	err = cfg.Saver.SaveUsage(ctx, key, &window.Usage{Instances: rates, Desired: int32(state.Desired), Ready: int32(state.Ready())})
	if err != nil {
		return err
	}
	cfg.Bell.Ring()
	return nil
}

// report tells of a change between answering and not answering, once.
func (g *group) report(ctx context.Context, err error) {
	c := g.collector
	environment := workloadEnvironment(g.environment)
	part := "usage of " + g.workload + " " + environment
	log := c.cfg.Log.With("workload", g.workload, "environment", environment)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.readings.WithLabelValues(g.workload, environment, "absent").Inc()
		if !g.failed {
			log.Warn("usage not collected, windows are absent", "err", err)
			c.cfg.Status.NotReady(part, err.Error())
		}
	default:
		c.readings.WithLabelValues(g.workload, environment, "saved").Inc()
		if g.failed {
			log.Info("usage collected again")
			c.cfg.Status.Ready(part)
		}
	}
	g.failed = err != nil
}

func workloadEnvironment(e foreshadowv1.Environment) string {
	if e == foreshadowv1.Environment_ENVIRONMENT_SHADOW {
		return "shadow"
	}
	return "production"
}
