package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Member is a group that has a life of its own.
type Member interface {
	Group
	// Run keeps the group until ctx ends, and returns nil then.
	Run(ctx context.Context) error
}

// Vary makes the group of a trial, which forms the group of that name: like base but for what is tried. An error is a
// platform.ErrUnsupported when there can be no such trial.
type Vary[M Member] func(base M, name string, t platform.Trial) (M, error)

// Groups are the groups of an agent: those that were declared, and the trials that come and go. A trial ends with its lease, or
// with the agent. It is safe for concurrent use.
type Groups[M Member] struct {
	vary Vary[M]
	// max is how many instances there may be of one group.
	max int
	log *slog.Logger

	mu      sync.Mutex
	all     map[string]M
	trials  map[string]*trial
	running context.Context // set while they run
	wg      sync.WaitGroup  // of trials
}

type trial struct {
	asked platform.Trial
	stop  context.CancelFunc
	// lease looks at expire once it may have come.
	lease  *time.Timer
	expire time.Time
}

// NewGroups returns groups that do not run yet, without any; Add adds those that are declared.
func NewGroups[M Member](vary Vary[M], maxInstances int, log *slog.Logger) *Groups[M] {
	return &Groups[M]{vary: vary, max: maxInstances, log: log, all: map[string]M{}, trials: map[string]*trial{}}
}

// Add declares a group, before Run.
func (s *Groups[M]) Add(name string, m M) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = m
}

// List returns those there are, by name.
func (s *Groups[M]) List() map[string]M {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

func (s *Groups[M]) find(name string) (M, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, known := s.all[name]
	return m, known
}

// API serves them; its watches end with ctx.
func (s *Groups[M]) API(ctx context.Context) *API {
	api := NewAPI(ctx, func(name string) (Group, bool) {
		m, known := s.find(name)
		return m, known
	})
	api.Handle("POST /v1/groups/{group}/trials", func(r *http.Request, _ Group) (any, error) {
		var t platform.Trial
		if err := Decode(r, "trial", &t); err != nil {
			return nil, err
		}
		return s.try(r.PathValue("group"), t)
	})
	api.Handle("DELETE /v1/groups/{group}/trials/{trial}", func(r *http.Request, g Group) (any, error) {
		s.end(platform.TrialGroup(r.PathValue("group"), r.PathValue("trial")))
		state, _, err := g.State()
		return state, err
	})
	return api
}

// Run runs all groups until ctx ends, or one of those declared cannot go on, and every one of them has ended.
func (s *Groups[M]) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.mu.Lock()
	s.running = ctx
	for _, m := range s.all {
		g.Go(func() error { return m.Run(ctx) })
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	for name := range s.trials {
		s.endLocked(name)
	}
	s.mu.Unlock()
	s.wg.Wait()
	return g.Wait()
}

// try starts a trial of a group, or renews it.
func (s *Groups[M]) try(group string, t platform.Trial) (platform.State, error) {
	if err := t.Validate(s.max); err != nil {
		return platform.State{}, &RequestError{err.Error()}
	}
	name := platform.TrialGroup(group, t.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	m, there := s.all[name]
	old := s.trials[name]
	switch {
	case s.running == nil:
		return platform.State{}, ErrStopping
	case s.trials[group] != nil:
		return platform.State{}, fmt.Errorf("trial %q: there are no trials of a trial: %w", name, platform.ErrUnsupported)
	case old == nil && there:
		return platform.State{}, fmt.Errorf("trial %q: it is still ending: %w", name, platform.ErrConflict)
	case old != nil && !old.asked.Same(t):
		return platform.State{}, fmt.Errorf("trial %q: it is running as something else: %w", name, platform.ErrConflict)
	case old != nil:
		old.renew(t.Lease)
	case len(s.trials) >= platform.MaxTrials:
		return platform.State{}, fmt.Errorf("trial %q: %d are running: %w", name, platform.MaxTrials, platform.ErrConflict)
	default:
		base, known := s.all[group]
		if !known {
			return platform.State{}, platform.NotFound(group)
		}
		var err error
		if m, err = s.vary(base, name, t); err != nil {
			return platform.State{}, fmt.Errorf("trial %q: %w", name, err)
		}
		s.begin(name, m, t)
	}
	state, _, err := m.State()
	return state, err
}

// begin runs the group of a trial. The caller holds mu.
func (s *Groups[M]) begin(name string, m M, t platform.Trial) {
	ctx, stop := context.WithCancel(s.running)
	begun := &trial{asked: t, stop: stop, expire: time.Now().Add(t.Lease)}
	begun.lease = time.AfterFunc(t.Lease, func() { s.expire(name, begun) })
	s.all[name], s.trials[name] = m, begun
	s.log.Info("trial started", "group", name, "instances", t.Instances)
	s.wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			s.log.Warn("trial not kept", "group", name, "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, name)
	})
}

func (t *trial) renew(lease time.Duration) {
	t.expire = time.Now().Add(lease)
	t.lease.Reset(lease)
}

// expire ends a trial when its lease is over: it may have been renewed while this waited, or be another one of its name.
func (s *Groups[M]) expire(name string, t *trial) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trials[name] == t && !time.Now().Before(t.expire) {
		s.endLocked(name)
	}
}

// end ends a trial; one that has ended is no error.
func (s *Groups[M]) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(name)
}

func (s *Groups[M]) endLocked(name string) {
	if t := s.trials[name]; t != nil {
		t.lease.Stop()
		t.stop()
		delete(s.trials, name)
		s.log.Info("trial ended", "group", name)
	}
}
