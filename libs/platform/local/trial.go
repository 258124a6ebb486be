package local

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

const (
	maxTrials = 20
	maxLease  = 10 * time.Minute
)

var trialName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// groupSet is the groups of an agent: those of its configuration, and the trials that come and go. It is safe for concurrent
// use.
type groupSet struct {
	mu      sync.Mutex
	all     map[string]*group
	trials  map[string]*trial
	running context.Context // set while the agent runs
	wg      sync.WaitGroup
}

type trial struct {
	asked platform.Trial
	group *group
	stop  context.CancelFunc
	lease *time.Timer
}

func (s *groupSet) get(name string) (*group, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, known := s.all[name]
	return g, known
}

func (s *groupSet) list() map[string]*group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

// run runs all groups until ctx ends and every instance is gone.
func (s *groupSet) run(ctx context.Context) {
	s.mu.Lock()
	s.running = ctx
	for _, g := range s.all {
		s.wg.Go(func() { g.run(ctx) })
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	for name := range s.trials {
		s.end(name)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// try starts a trial of the group, or renews it.
func (s *groupSet) try(base *group, t platform.Trial) (platform.State, error) {
	name := platform.TrialGroup(base.name, t.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return platform.State{}, agent.ErrStopping
	}
	if old := s.trials[name]; old != nil {
		if !equalTrials(old.asked, t) {
			return platform.State{}, fmt.Errorf("trial %q: it is running as something else: %w", name, platform.ErrConflict)
		}
		old.lease.Reset(t.Lease)
		state, _ := old.group.state()
		return state, nil
	}
	if len(s.trials) >= maxTrials {
		return platform.State{}, fmt.Errorf("trial %q: %d are running: %w", name, maxTrials, platform.ErrConflict)
	}
	if s.all[name] != nil {
		return platform.State{}, fmt.Errorf("trial %q: it is still ending: %w", name, platform.ErrConflict)
	}
	spec := base.spec
	spec.Process.Command, spec.Process.Env = slices.Clone(spec.Process.Command), maps.Clone(spec.Process.Env)
	if spec.Process.Env == nil {
		spec.Process.Env = map[string]string{}
	}
	maps.Copy(spec.Process.Env, t.Env)
	if t.Image != "" {
		spec.Process.Command[0] = t.Image
	}
	spec.Process.Initial, spec.Version = t.Instances, Version(spec.Process)
	g := newGroup(base.agent, name, spec)
	ctx, stop := context.WithCancel(s.running)
	s.all[name] = g
	s.trials[name] = &trial{asked: t, group: g, stop: stop, lease: time.AfterFunc(t.Lease, func() { s.stop(name) })}
	s.wg.Go(func() {
		g.run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, name)
	})
	g.log.Info("trial started", "instances", t.Instances)
	state, _ := g.state()
	return state, nil
}

func equalTrials(a, b platform.Trial) bool {
	return a.Instances == b.Instances && a.Image == b.Image && maps.Equal(a.Env, b.Env)
}

// stop ends a trial; one that has ended is no error.
func (s *groupSet) stop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(name)
}

func (s *groupSet) end(name string) {
	if t := s.trials[name]; t != nil {
		t.lease.Stop()
		t.stop()
		delete(s.trials, name)
		t.group.log.Info("trial ended")
	}
}

func (a *Agent) try(r *http.Request, found agent.Group) (any, error) {
	var t platform.Trial
	if err := agent.Decode(r, "trial", &t); err != nil {
		return nil, err
	}
	switch {
	case !trialName.MatchString(t.Name):
		return nil, &agent.RequestError{Text: fmt.Sprintf("name: want 1 to 63 lower-case letters, digits and dashes, got %q", t.Name)}
	case t.Instances < 1 || t.Instances > MaxInstances:
		return nil, &agent.RequestError{Text: fmt.Sprintf("instances: want 1 to %d, got %d", MaxInstances, t.Instances)}
	case t.Lease <= 0 || t.Lease > maxLease:
		return nil, &agent.RequestError{Text: fmt.Sprintf("lease: want at most %v, got %v", maxLease, t.Lease)}
	case t.CPUCores > 0 || t.MemoryBytes > 0:
		return nil, fmt.Errorf("cpu_cores and memory_bytes of a process of this machine are not bounded: %w", platform.ErrUnsupported)
	}
	return a.groups.try(found.(served).group, t)
}

func (a *Agent) endTrial(r *http.Request, found agent.Group) (any, error) {
	g := found.(served).group
	a.groups.stop(platform.TrialGroup(g.name, r.PathValue("trial")))
	state, _ := g.state()
	return state, nil
}
