package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

// group keeps as many instances as are desired. One goroutine looks and acts; the others read, and say what is desired.
type group struct {
	name   string
	spec   Group
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

// run keeps the group until ctx ends; the instances live on.
func (g *group) run(ctx context.Context) error {
	m, found, err := g.store.load()
	if err != nil {
		return fmt.Errorf("group %q: %w", g.name, err)
	}
	if !found {
		m.Desired = -1 // as many as there are
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

// inspect reads those of a list that are new or have changed.
func (g *group) inspect(ctx context.Context, list []container.Summary) (map[string]sight, error) {
	g.mu.Lock()
	known := map[string]*unit{}
	for _, u := range g.units {
		known[u.container()] = u
	}
	ask := map[string]int{}
	for i := range list {
		if u := known[list[i].ID]; u == nil {
			ask[list[i].ID] = 0
		} else if u.state != list[i].State || u.outdated {
			ask[list[i].ID] = u.touched
		}
	}
	g.mu.Unlock()
	var mu sync.Mutex
	seen := map[string]sight{}
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for id, touched := range ask {
		calls.Go(func() error {
			c, err := g.engine.inspect(ctx, id)
			if errors.Is(err, platform.ErrNotFound) {
				return nil // gone since
			}
			mu.Lock()
			defer mu.Unlock()
			seen[id] = sight{c, touched}
			return err
		})
	}
	return seen, calls.Wait()
}

// sight is what was seen of a container, before anything more was done to it than touched says.
type sight struct {
	container.InspectResponse
	touched int
}

// merge brings the units up to date with what was seen, and notices what somebody else has done.
func (g *group) merge(list []container.Summary, seen map[string]sight, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, foreign := g.snapshot(), false
	there := map[string]bool{}
	var errs []error
	for i := range list {
		id := list[i].ID
		n := slices.IndexFunc(g.units, func(u *unit) bool { return u.container() == id })
		c, asked := seen[id]
		if n < 0 && !asked {
			continue // it came and went
		}
		there[id] = true
		if n < 0 {
			u := &unit{since: now, state: list[i].State, late: !g.known, proven: true}
			errs = append(errs, u.learn(c.InspectResponse, g.spec.Docker))
			g.adopt(u)
			foreign = foreign || g.stranger(u)
			g.units = append(g.units, u)
		} else if u := g.units[n]; asked && u.touched == c.touched {
			u.state = list[i].State
			errs = append(errs, u.learn(c.InspectResponse, g.spec.Docker))
			foreign = g.follow(u, now) || foreign
		}
	}
	g.units = slices.DeleteFunc(g.units, func(u *unit) bool {
		if there[u.container()] {
			return false
		}
		foreign = foreign || u.live()
		return true
	})
	slices.SortStableFunc(g.units, func(a, b *unit) int { return a.StartTime.Compare(b.StartTime) })
	if err := g.settle(foreign); err != nil {
		return err
	}
	if !same(before, g.snapshot()) {
		g.bump()
	}
	return errors.Join(errs...)
}

// adopt gives a container that was not known its phase.
func (g *group) adopt(u *unit) {
	switch {
	case u.running():
		u.Phase = platform.Starting
	case u.clone:
		u.Phase = platform.Failed
	default:
		u.Phase = asleep
	}
}

// stranger says whether a container that was not known is somebody else's doing: those made here are not, and at the start
// those that were known before are not.
func (g *group) stranger(u *unit) bool {
	first := !g.known && g.memory.Desired < 0
	return !first && !u.clone && u.live() && !slices.Contains(g.memory.Containers, u.container())
}

// follow moves a unit on by what the engine says of it. It reports whether somebody else has started it.
func (g *group) follow(u *unit, now time.Time) (foreign bool) {
	switch {
	case u.running() && u.Phase == asleep:
		u.Phase, u.since = platform.Starting, now
		return true
	case u.running() && u.Phase == platform.Failed && !u.ending:
		u.Phase, u.since = platform.Starting, now // the engine has started it again by its restart policy
	case !u.running() && u.live():
		g.fail(u, fmt.Sprintf("ended by itself, exit code %d %s", u.seen.State.ExitCode, u.seen.State.Error), now)
	}
	return false
}

// settle writes down what is desired, and which containers are known, when either has changed.
func (g *group) settle(foreign bool) error {
	next := g.memory
	live := 0
	next.Containers = nil
	for _, u := range g.units {
		next.Containers = append(next.Containers, u.container())
		if u.live() {
			live++
		}
	}
	slices.Sort(next.Containers)
	switch {
	case next.Desired < 0:
		next.Desired = live
	case foreign && live != next.Desired:
		g.log.Info("somebody else changed the number of instances", "previous", next.Desired, "desired", live)
		next.Desired, next.Foreign = live, true
	}
	if next.Desired == g.memory.Desired && next.Foreign == g.memory.Foreign && slices.Equal(next.Containers, g.memory.Containers) {
		return nil
	}
	return g.remember(next)
}

// remember makes a memory durable before it counts. The caller holds mu.
func (g *group) remember(next memory) error {
	if err := g.store.save(next); err != nil {
		return err
	}
	g.memory = next
	return nil
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
	template := g.template()
	if template != nil {
		s.Size = over(sizeOf(template.seen.HostConfig.Resources), g.memory.Size)
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
	case len(g.units) == 0:
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
	next.Desired, next.Generation, next.Foreign, next.Size = c.Instances, c.Generation, false, over(next.Size, c.Size)
	if err := g.remember(next); err != nil {
		return platform.State{}, err
	}
	g.log.Info("group scaled", "desired", c.Instances, "previous", c.ObservedDesired, "generation", c.Generation)
	g.bump()
	g.nudge()
	return g.snapshot(), nil
}
