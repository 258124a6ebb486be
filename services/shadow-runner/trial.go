package shadowrunner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// Trials is the part of a platform that runs configurations other than the shadow's, beside it.
type Trials interface {
	// Try starts a trial or renews its lease, and returns its state. An error is a platform.ErrUnsupported when the platform
	// cannot give what is asked.
	Try(ctx context.Context, group string, t platform.Trial) (platform.State, error)
	// EndTrial ends a trial.
	EndTrial(ctx context.Context, group, trial string) error
}

// TrialKeeper are Trials that outlive whoever asked for them, until they are looked for: those of a runner that was killed.
type TrialKeeper interface {
	// KeepTrials ends those that nobody asks for any more, until ctx ends.
	KeepTrials(ctx context.Context) error
}

const (
	// trialLease is how long a trial outlives a runner that was killed; it is renewed every trialRenew.
	trialLease = time.Minute
	trialRenew = 10 * time.Second
	// trialLook is how often one that starts or ends is looked at. endTimeout bounds the call that ends it, goneTimeout the time
	// that its instances are waited for, and refusedTimeout how long it may be refused for what may be free a moment later.
	trialLook      = 250 * time.Millisecond
	endTimeout     = 10 * time.Second
	goneTimeout    = time.Minute
	refusedTimeout = time.Minute
	// podStart is how long the instances of a trial may take on Kubernetes, where an image may have to be pulled first.
	podStart = 5 * time.Minute
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
		if s.failure == "" && !there(ctx, s.instances) { // what one load did to them is not the next one's
			s = l.restage(ctx, job, c.Configuration, s)
		}
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
	settle, died := l.workload.Replay.SettleDuration, ""
	level := probe.Level{Rate: c.Rate / float64(max(1, c.Configuration.GetInstances())), Settle: settle, Hold: job.Hold, Shape: c.Load.GetShapePerSecond()}
	for {
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
		died = s.instances[0].ID
		l.log.Warn("instance went away under load", "instance", died)
		*s = l.restage(ctx, job, c.Configuration, *s)
	}
}

// diedOnce is a failure of a load that may have killed an instance before.
func diedOnce(instance, failure string) string {
	if instance == "" {
		return failure
	}
	return fmt.Sprintf("the instance %s died under it, and it could not be held again: %s", instance, failure)
}

// staged is what a configuration is held on until it is released, or why there is nothing.
type staged struct {
	instances []stagedInstance
	release   func()
	failure   string
}

// restage gives a configuration other instances in place of those it had.
func (l *lane) restage(ctx context.Context, job experiment.Job, c *foreshadowv1.ExperimentConfiguration, before staged) staged {
	version := before.instances[0].Version
	before.release()
	s := l.stage(ctx, job, c)
	if s.failure == "" && s.instances[0].Version != version {
		s.failure = "its instances became another version, " + s.instances[0].Version
	}
	return s
}

// stage gives the instances of a configuration: one of the shadow's own when nothing is to be other than there, else a trial.
func (l *lane) stage(ctx context.Context, job experiment.Job, c *foreshadowv1.ExperimentConfiguration) staged {
	if c.GetShadowInstances() <= 1 && c.GetCpuCores() == 0 && c.GetMemoryBytes() == 0 && len(c.GetEnvironment()) == 0 && c.GetImage() == "" {
		instance, release, ok := awaitLease(ctx, l.fleet)
		if !ok {
			return staged{release: func() {}, failure: "the shadow has no ready instance"}
		}
		return staged{instances: []stagedInstance{l.own(instance)}, release: release}
	}
	if l.trials == nil {
		return staged{release: func() {}, failure: "this platform cannot run another configuration than the shadow's"}
	}
	t := platform.Trial{
		Name: "trial-" + job.ID[:8] + "-" + c.GetName(), Instances: int(max(1, c.GetShadowInstances())), Env: c.GetEnvironment(), Image: c.GetImage(),
		CPUCores: c.GetCpuCores(), MemoryBytes: c.GetMemoryBytes(), Lease: trialLease,
	}
	instances, release, failure := l.start(ctx, t)
	return staged{instances, release, failure}
}

// stagedInstance is an instance, the group that its usage is read from, and whether it has left: since when, as far as its platform
// says; zero when that is not known or no load's doing.
type stagedInstance struct {
	platform.Instance
	group string
	left  func(context.Context) (at time.Time, gone bool)
}

// there says whether all instances still are.
func there(ctx context.Context, instances []stagedInstance) bool {
	return !slices.ContainsFunc(instances, func(i stagedInstance) bool { _, gone := i.left(ctx); return gone })
}

// own is an instance of the shadow's own.
func (l *lane) own(i platform.Instance) stagedInstance {
	return stagedInstance{i, l.workload.Shadow.Group, func(context.Context) (time.Time, bool) { return l.fleet.Left(i.ID) }}
}

// tried is an instance of a trial. One that is not ready any more may be busy with what is held, and is there; while the platform
// cannot be asked nothing is held against it.
func (l *lane) tried(i platform.Instance, t platform.Trial) stagedInstance {
	return stagedInstance{i, platform.TrialGroup(l.workload.Shadow.Group, t.Name), func(ctx context.Context) (at time.Time, gone bool) {
		state, err := l.trials.Try(ctx, l.workload.Shadow.Group, t)
		n := slices.IndexFunc(state.Instances, func(now platform.Instance) bool { return now.ID == i.ID })
		switch {
		case err != nil, n >= 0 && (state.Instances[n].Phase == platform.Ready || state.Instances[n].Phase == platform.Starting):
			return time.Time{}, false
		case n >= 0 && state.Instances[n].Phase == platform.Draining:
			return time.Time{}, true
		}
		return time.Now(), true // or earlier, which its requests tell
	}}
}

// start runs a trial until release is called; the failure says why it is not ready.
func (l *lane) start(ctx context.Context, t platform.Trial) (instances []stagedInstance, release func(), failure string) {
	group := l.workload.Shadow.Group
	renewing, stop := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	admitted := func() {}
	release = sync.OnceFunc(func() {
		stop()
		renewal.Wait()
		admitted()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if err := l.trials.EndTrial(end, group, t.Name); err != nil {
			l.log.Warn("trial left to its lease", "err", err)
		}
		l.awaitEnd(ctx, platform.TrialGroup(group, t.Name))
	})
	begin, timeout := time.Now(), startTimeout(l.workload.Shadow)
	accepted := begin // when it was not refused for the last time
	for {
		state, err := l.trials.Try(ctx, group, t)
		if err == nil {
			accepted = time.Now()
		}
		switch {
		case err != nil && (ctx.Err() != nil || errors.Is(err, platform.ErrUnsupported) || time.Since(accepted) > refusedTimeout || time.Since(begin) > timeout):
			return nil, release, err.Error()
		case err == nil && state.Ready() >= t.Instances:
			for _, i := range state.Instances {
				if i.Phase == platform.Ready {
					instances = append(instances, l.tried(i, t))
				}
			}
			if admitted, err = l.fleet.Admit(ctx, state.Instances); err != nil {
				return nil, release, err.Error()
			}
			renewal.Go(func() { l.renew(renewing, t) })
			return instances, release, ""
		case time.Since(begin) > timeout:
			return nil, release, fmt.Sprintf("%d of %d instances were ready after %v%s", state.Ready(), t.Instances, timeout, failed(state))
		}
		if err := pace.Timer(ctx, time.Now().Add(trialLook)); err != nil {
			return nil, release, err.Error()
		}
	}
}

// awaitEnd returns when the instances of a trial are gone: until then they are part of what the experiment may use.
func (l *lane) awaitEnd(ctx context.Context, group string) {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := l.usage(ctx, group); errors.Is(err, platform.ErrNotFound) {
			return
		}
		if pace.Timer(ctx, time.Now().Add(trialLook)) != nil {
			return
		}
	}
}

// startTimeout is how long the instances of a trial of a shadow may take to be ready.
func startTimeout(shadow workload.Target) time.Duration {
	switch shadow.Platform {
	case workload.PlatformKubernetes:
		return podStart
	case workload.PlatformDocker:
		return cmp.Or(shadow.Docker.StartTimeout, time.Minute)
	default:
		return cmp.Or(shadow.Process.StartTimeout, time.Minute)
	}
}

// failed says how many instances have failed, in words.
func failed(s platform.State) string {
	n := 0
	for _, i := range s.Instances {
		if i.Phase == platform.Failed {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d have failed", n)
}

func (l *lane) renew(ctx context.Context, t platform.Trial) {
	for pace.Timer(ctx, time.Now().Add(trialRenew)) == nil {
		if _, err := l.trials.Try(ctx, l.workload.Shadow.Group, t); err != nil && ctx.Err() == nil {
			l.log.Warn("trial not renewed", "err", err)
		}
	}
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
