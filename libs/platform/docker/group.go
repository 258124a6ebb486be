package docker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

// group keeps as many instances as are desired. One goroutine looks and acts; the others read, and say what is desired.
type group struct {
	name string
	spec Group
	// begin is what is wanted when nothing was written down yet.
	begin memory
	// like is what the instances of a trial are made like; nil in a group that was declared.
	like *container.InspectResponse
	// swept: what trials of it an agent before this one has left is gone, so that there may be new ones.
	swept  atomic.Bool
	engine *engine
	store  store
	log    *slog.Logger
	health Health
	probe  *http.Client
	timing timing
	failed func() // counts a failure
	wake   chan struct{}
	ending sync.WaitGroup

	mu sync.Mutex
	// known: the engine was asked once; away is why it could not be asked the last time.
	known    bool
	away     error
	stopping bool
	memory   memory
	units    []*unit // oldest first
	revision uint64
	changed  chan struct{} // closed at the next change
	// failures in a row, and when replacements are made again.
	failures int
	retryAt  time.Time
}

// Run implements agent.Member: it keeps the group until ctx ends. The instances live on, but those of a trial.
func (g *group) Run(ctx context.Context) error {
	m, found, err := g.store.load()
	if err != nil {
		return fmt.Errorf("group %q: %w", g.name, err)
	}
	if !found {
		m = g.begin
	}
	g.mu.Lock()
	g.memory = m
	g.mu.Unlock()
	g.health.NotReady("group "+g.name, "the engine was not asked yet")
	retry := g.timing.poll
	for ctx.Err() == nil {
		next := g.timing.poll
		err := g.look(ctx, time.Now())
		g.report(ctx, err)
		switch {
		case err != nil:
			next, retry = retry, min(2*retry, g.timing.awayMax)
		case g.calm():
			next, retry = g.timing.checkEvery, g.timing.poll
		}
		timer := time.NewTimer(next)
		select {
		case <-g.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	g.mu.Lock()
	g.stopping = true
	g.bump()
	g.mu.Unlock()
	g.ending.Wait()
	if g.like != nil {
		lasting, release := g.outlasting()
		defer release()
		g.clear(lasting, g.spec.Labels)
	}
	return nil
}

// report notes whether the engine could be asked.
func (g *group) report(ctx context.Context, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil || (err != nil) == (g.away != nil) && g.known {
		return
	}
	if err != nil && g.away == nil {
		g.log.Warn("docker engine cannot be asked, retrying", "err", err)
		g.health.NotReady("group "+g.name, err.Error())
	} else if err == nil {
		g.log.Info("docker engine answers", "instances", len(g.units))
		g.health.Ready("group " + g.name)
	}
	g.away = err
	g.known = g.known || err == nil
	g.bump()
}

// calm says whether nothing is under way.
func (g *group) calm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, u := range g.units {
		if u.Phase != platform.Ready && u.Phase != asleep || u.outdated || !u.proven && u.Phase == platform.Ready {
			return false
		}
	}
	return true
}

// look sees what there is and does what is due.
func (g *group) look(ctx context.Context, now time.Time) error {
	list, err := g.engine.list(ctx, g.spec.Labels)
	if err != nil {
		return err
	}
	seen, err := g.inspect(ctx, list)
	if err != nil {
		return err
	}
	if err := g.merge(list, seen, now); err != nil {
		return err
	}
	g.check(ctx, now)
	return g.act(ctx, time.Now())
}

// fail marks an instance as to be replaced, after a delay that doubles with each early failure in a row. The caller holds mu.
func (g *group) fail(u *unit, reason string, now time.Time) {
	if !u.ReadyTime.IsZero() && now.Sub(u.ReadyTime) >= g.timing.goodLife || u.late && u.Phase == platform.Ready {
		g.failures = 0
	}
	wait := time.Duration(0)
	if g.failures > 0 || u.Phase != platform.Ready {
		wait = min(g.timing.retryFirst<<min(g.failures, 20), g.timing.retryMax)
	}
	g.failures++
	g.retryAt = now.Add(wait)
	u.Phase = platform.Failed
	g.failed()
	g.log.Warn("instance failed", "instance", u.ID, "reason", reason)
}

// bump tells the watchers. The caller holds mu.
func (g *group) bump() {
	g.revision++
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *group) nudge() {
	select {
	case g.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// snapshot is the state. The caller holds mu.
func (g *group) snapshot() platform.State {
	s := platform.State{
		Group: g.name, Revision: g.revision, Generation: g.memory.Generation, Desired: max(0, g.memory.Desired), Foreign: g.memory.Foreign,
		Instances: []platform.Instance{},
	}
	if like := g.pattern(); like != nil {
		s.Size = sizeOf(like.HostConfig.Resources).With(g.memory.Size)
	}
	for _, u := range g.units {
		if u.Phase != asleep {
			s.Instances = append(s.Instances, u.Instance)
		}
	}
	return s
}

func same(a, b platform.State) bool {
	return a.Desired == b.Desired && a.Foreign == b.Foreign && a.Size == b.Size && slices.Equal(a.Instances, b.Instances)
}

// template is what new instances are made like: the eldest container that the user made, or, when that one was removed, the
// eldest there is. The caller holds mu.
func (g *group) template() *unit {
	sorted := slices.Clone(g.units)
	slices.SortStableFunc(sorted, func(a, b *unit) int {
		if a.clone != b.clone {
			if a.clone {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.seen.Created, b.seen.Created)
	})
	if len(sorted) == 0 {
		return nil
	}
	return sorted[0]
}

// pattern is what further instances are made like; nil when there is nothing to be like. The caller holds mu.
func (g *group) pattern() *container.InspectResponse {
	if t := g.template(); g.like == nil && t != nil {
		return &t.seen
	}
	return g.like
}

// State implements agent.Group.
func (g *group) State() (platform.State, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot(), g.changed, g.usable()
}

// usable says why nothing can be said of the group, or done. The caller holds mu.
func (g *group) usable() error {
	switch {
	case g.stopping:
		return agent.ErrStopping
	case g.away != nil:
		return fmt.Errorf("group %q: %w: %w", g.name, agent.ErrAway, g.away)
	case !g.known:
		return fmt.Errorf("group %q: %w: it was not asked yet", g.name, agent.ErrAway)
	case g.pattern() == nil:
		return fmt.Errorf("group %q: no container has its labels, so that there is none to be like: %w", g.name, platform.ErrNotFound)
	default:
		return nil
	}
}

// Scale implements agent.Group.
func (g *group) Scale(c platform.Change) (platform.State, error) {
	if c.Instances < 0 || c.Instances > MaxInstances {
		return platform.State{}, &agent.RequestError{Text: fmt.Sprintf("instances: want 0 to %d, got %d", MaxInstances, c.Instances)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.usable(); err != nil {
		return platform.State{}, err
	}
	switch m := g.memory; {
	case c.Generation < m.Generation:
		return platform.State{}, fmt.Errorf("group %q: generation %d is older than the last accepted one, %d: %w",
			g.name, c.Generation, m.Generation, platform.ErrConflict)
	case c.ObservedDesired != m.Desired:
		return platform.State{}, fmt.Errorf("group %q: %d instances were wanted when it was observed, now %d: %w",
			g.name, c.ObservedDesired, m.Desired, platform.ErrConflict)
	}
	next := g.memory
	next.Desired, next.Generation, next.Foreign, next.Size = c.Instances, c.Generation, false, next.Size.With(c.Size)
	if err := g.remember(next); err != nil {
		return platform.State{}, err
	}
	g.log.Info("group scaled", "desired", c.Instances, "previous", c.ObservedDesired, "generation", c.Generation)
	g.bump()
	g.nudge()
	return g.snapshot(), nil
}
