package shadowrunner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// matrix carries a job of configurations out: one after another, or as many at a time as its budget of instances allows. The
// error is ctx's.
func (l *lane) matrix(ctx context.Context, job experiment.Job) error {
	mix := l.reservoir.Mix()
	instances := int64(job.Matrix.GetMaxInstances())
	room := semaphore.NewWeighted(instances)
	budget := &minutes{left: job.Matrix.GetMaxMinutes() - job.UsedMinutes}
	g, gctx := errgroup.WithContext(ctx)
	if !job.Matrix.GetSideBySide() {
		g.SetLimit(1)
	}
	for _, cells := range byConfiguration(job.Cells) {
		need := min(int64(max(1, cells[0].Configuration.GetShadowInstances())), instances)
		g.Go(func() error {
			if err := room.Acquire(gctx, need); err != nil {
				return err
			}
			defer room.Release(need)
			return l.configuration(gctx, job, cells, mix, budget)
		})
	}
	return g.Wait()
}

func byConfiguration(cells []experiment.Cell) [][]experiment.Cell {
	var out [][]experiment.Cell
	for i, c := range cells {
		if i == 0 || c.Configuration.GetName() != cells[i-1].Configuration.GetName() {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
	}
	return out
}

// minutes is what is left of an experiment's budget.
type minutes struct {
	mu   sync.Mutex
	left float64
}

// take is false when there is not enough left.
func (m *minutes) take(n float64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < n {
		return false
	}
	m.left -= n
	return true
}

// configuration holds all loads that are left of one configuration. Whatever keeps it from that is recorded with its cells.
func (l *lane) configuration(ctx context.Context, job experiment.Job, cells []experiment.Cell, mix *reservoir.Mix, budget *minutes) error {
	s := l.stage(ctx, job, cells[0].Configuration)
	defer func() { s.release() }()
	for _, c := range cells {
		step, used, failure := l.heldTwice(ctx, job, c, &s, mix, budget)
		cell := &foreshadowv1.ExperimentCell{Configuration: c.Configuration.GetName(), Load: c.Load.GetName(), RequestsPerSecond: c.Rate, Failure: failure}
		if failure == "" {
			cell.Result = measure.Step(step)
			cell.PricePerMillion = experiment.PricePerMillion(experiment.PricePerHour(l.workload.Prices, l.workload.Production, c.Configuration), c.Rate)
		}
		if ctx.Err() != nil {
			return ctx.Err() // what was held half is held again, or was cancelled
		}
		if err := l.persist(ctx, func(ctx context.Context) error { return l.experiments.RecordCell(ctx, job.ID, cell, used) }); err != nil {
			return err
		}
	}
	return nil
}

// heldTwice holds a load, and where an instance that answered well died of it once more on others: one death may be an accident, and the
// second is the result. used are minutes of the budget; the failure says why there is no result.
func (l *lane) heldTwice(ctx context.Context, job experiment.Job, c experiment.Cell, s *staged, mix *reservoir.Mix, budget *minutes) (step probe.Step, used float64, failure string) {
	settle := l.workload.Replay.SettleDuration
	level := probe.Level{Rate: c.Rate / float64(max(1, c.Configuration.GetInstances())), Settle: settle, Hold: job.Hold, Shape: c.Load.GetShapePerSecond()}
	for died := ""; ; died = s.instances[0].ID {
		if s.failure == "" && (died != "" || !ready(ctx, s.instances)) { // what one load did to them is not the next one's
			*s = l.restage(ctx, job, c.Configuration, *s)
		}
		if s.failure != "" {
			return step, used, diedOnce(died, s.failure)
		}
		need := (settle + job.Hold).Minutes()
		if !budget.take(need) {
			return step, used, diedOnce(died, fmt.Sprintf("the budget of %v minutes is used up", job.Matrix.GetMaxMinutes()))
		}
		used += need
		step, failure = l.holdAll(ctx, s.instances, mix, level)
		switch {
		case failure != "":
			return step, used, diedOnce(died, failure)
		case !step.Sudden:
			return step, used, ""
		case died != "":
			return step.Lost(), used, ""
		}
		l.log.Warn("instance went away under load", "instance", s.instances[0].ID)
	}
}

// diedOnce is a failure of a load that may have killed an instance before.
func diedOnce(instance, failure string) string {
	if instance == "" {
		return failure
	}
	return fmt.Sprintf("the instance %s died under it, and it could not be held again: %s", instance, failure)
}

// holdAll puts the level on every instance at the same time, and returns the step of the one that did worst: a configuration
// meets the SLO when all of its instances do. It is Sudden when one of them died and none missed the SLO.
func (l *lane) holdAll(ctx context.Context, instances []stagedInstance, mix *reservoir.Mix, level probe.Level) (worst probe.Step, failure string) {
	steps, failures := make([]probe.Step, len(instances)), make([]string, len(instances))
	var wg sync.WaitGroup
	for i, instance := range instances {
		h := *l.holder
		h.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		h.Usage = func(ctx context.Context) ([]platform.Usage, error) { return l.usage(ctx, instance.group) }
		wg.Go(func() { steps[i], failures[i] = l.hold(ctx, &h, instance, mix, level) })
	}
	wg.Wait()
	for i := range steps {
		if failures[i] != "" {
			return probe.Step{}, failures[i]
		}
		if i == 0 || severity(steps[i]) > severity(worst) || severity(steps[i]) == severity(worst) && steps[i].Latency > worst.Latency {
			worst = steps[i]
		}
	}
	return worst, ""
}

func severity(s probe.Step) int {
	switch {
	case s.Sudden:
		return 1
	case s.Met:
		return 0
	}
	return 2
}

// simulations are what an experiment says of its configurations, for whoever plans: marked, and never valid as a measurement
// of what production runs.
func simulations(w workload.Workload, e *foreshadowv1.Experiment, ttl time.Duration) []*foreshadowv1.CapacityMeasured {
	var out []*foreshadowv1.CapacityMeasured
	for _, c := range e.GetMatrix().GetConfigurations() {
		m := &foreshadowv1.CapacityMeasured{
			Workload: w.Name, MeasureTime: e.GetCompleteTime(), ExpireTime: expire(e, ttl), SloLatencySeconds: w.SLO.Latency.Seconds(), SloQuantile: w.SLO.Quantile,
			InvalidReason: fmt.Sprintf("simulated: configuration %s of experiment %s", c.GetName(), e.GetExperimentId()),
			Simulation: &foreshadowv1.Simulation{
				ExperimentId: e.GetExperimentId(), Configuration: c.GetName(), CpuCores: c.GetCpuCores(), MemoryBytes: c.GetMemoryBytes(), Instances: c.GetInstances(),
				PricePerHour: experiment.PricePerHour(w.Prices, w.Production, c), Cheapest: c.GetName() == e.GetCheapest(),
				SizeOnly: len(c.GetEnvironment()) == 0 && c.GetImage() == "",
			},
		}
		for _, cell := range e.GetCells() {
			if cell.GetConfiguration() != c.GetName() || cell.GetResult() == nil {
				continue
			}
			m.Steps = append(m.Steps, cell.GetResult())
			if cell.GetResult().GetSloMet() {
				m.Simulation.RequestsPerSecond = max(m.Simulation.RequestsPerSecond, cell.GetResult().GetOfferedPerSecond())
			}
		}
		if len(m.Steps) > 0 {
			out = append(out, m)
		}
	}
	return out
}
