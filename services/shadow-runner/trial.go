package shadowrunner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
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

// stagedInstance is an instance and the group that its usage is read from.
type stagedInstance struct {
	platform.Instance
	group string
	// left says whether it has left under load, and since when as far as its platform knows; zero when that is not known or no load's
	// doing.
	left func(context.Context) (at time.Time, gone bool)
	// ready says whether it can be put under load.
	ready func(context.Context) bool
}

// ready says whether all instances are.
func ready(ctx context.Context, instances []stagedInstance) bool {
	return !slices.ContainsFunc(instances, func(i stagedInstance) bool { return !i.ready(ctx) })
}

// own is an instance of the shadow's own.
func (l *lane) own(i platform.Instance) stagedInstance {
	return stagedInstance{
		i, l.workload.Shadow.Group, func(context.Context) (time.Time, bool) { return l.fleet.Left(i.ID) },
		func(context.Context) bool { return l.fleet.IsReady(i.ID) },
	}
}

// tried is an instance of a trial. One that is not ready any more may be busy with what is held, and has not left; while the platform
// cannot be asked nothing is held against it.
func (l *lane) tried(i platform.Instance, t platform.Trial) stagedInstance {
	phase := func(ctx context.Context) platform.Phase { // empty when it is not there
		state, err := l.trials.Try(ctx, l.workload.Shadow.Group, t)
		if err != nil {
			return platform.Ready
		}
		if n := slices.IndexFunc(state.Instances, func(now platform.Instance) bool { return now.ID == i.ID }); n >= 0 {
			return state.Instances[n].Phase
		}
		return ""
	}
	return stagedInstance{
		i, platform.TrialGroup(l.workload.Shadow.Group, t.Name), func(ctx context.Context) (at time.Time, gone bool) {
			switch phase(ctx) {
			case platform.Ready, platform.Starting:
				return time.Time{}, false
			case platform.Draining:
				return time.Time{}, true
			}
			return time.Now(), true // or earlier, which its requests tell
		},
		func(ctx context.Context) bool { return phase(ctx) == platform.Ready },
	}
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
