package local

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

// group keeps as many instances as are desired.
type group struct {
	name  string
	spec  Group
	size  platform.Size // that bounds each instance; 0 = not bounded
	agent *Agent
	log   *slog.Logger
	wake  chan struct{} // capacity 1: reconcile again
	wg    sync.WaitGroup

	mu         sync.Mutex
	stopping   bool
	desired    int
	revision   uint64
	generation uint64
	instances  []*instance   // oldest first
	changed    chan struct{} // closed at the next change
}

func newGroup(a *Agent, name string, spec Group) *group {
	if spec.Process.StartTimeout == 0 {
		spec.Process.StartTimeout = defaultStartTimeout
	}
	if spec.Process.DrainTimeout == 0 {
		spec.Process.DrainTimeout = defaultDrainTimeout
	}
	return &group{
		name: name, spec: spec, agent: a, log: a.log.With("group", name),
		wake: make(chan struct{}, 1), desired: spec.Process.Initial,
		// Revisions of an agent that is started later are higher. Microseconds stay exact in every JSON reader.
		revision: uint64(time.Now().UnixMicro()), changed: make(chan struct{}),
	}
}

// Run implements agent.Member: it keeps the group until ctx ends, then stops its instances.
func (g *group) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		var due <-chan time.Time
		var timer *time.Timer
		if next := g.reconcile(ctx, time.Now()); !next.IsZero() {
			timer = time.NewTimer(time.Until(next))
			due = timer.C
		}
		select {
		case <-g.wake:
		case <-due:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
	g.stop()
	g.wg.Wait()
	return nil
}

func (g *group) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	for _, i := range g.instances {
		g.drain(i)
	}
	g.change()
}

// reconcile starts and drains what is needed now and returns when to look again; zero when only a change calls for it.
func (g *group) reconcile(ctx context.Context, now time.Time) (next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var live, waiting []*instance
	for _, i := range g.instances {
		switch {
		case i.phase == platform.Starting || i.phase == platform.Ready:
			live = append(live, i)
		case i.phase == platform.Failed && !i.replaced:
			waiting = append(waiting, i)
		}
	}
	before := len(g.instances)
	missing := g.desired - len(live) - len(waiting)
	acted := missing != 0
	// What waits for its replacement is given up first, then the youngest of those that do not serve yet.
	for ; missing < 0 && len(waiting) > 0; missing++ {
		waiting[len(waiting)-1].replaced = true
		waiting = waiting[:len(waiting)-1]
	}
	for _, i := range drainFirst(live)[:max(0, -missing)] {
		g.drain(i)
		g.log.Info("instance drains", "instance", i.id, "reason", "fewer wanted")
	}
	for range missing {
		g.start(ctx, now, 0)
	}
	for _, i := range waiting {
		if now.Before(i.retryTime) {
			if next.IsZero() || i.retryTime.Before(next) {
				next = i.retryTime
			}
			continue
		}
		i.replaced, acted = true, true
		g.start(ctx, now, i.failures)
	}
	g.instances = slices.DeleteFunc(g.instances, func(i *instance) bool {
		return i.gone && (i.phase != platform.Failed || i.replaced)
	})
	if acted || len(g.instances) != before {
		g.bump()
	}
	return next
}

// drainFirst orders instances by how little is lost with them: those that do not serve yet, then the youngest.
func drainFirst(live []*instance) []*instance {
	sorted := slices.Clone(live)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b *instance) int {
		switch a.phase {
		case b.phase:
			return 0
		case platform.Starting:
			return -1
		default:
			return 1
		}
	})
	return sorted
}

// start adds an instance and leaves the rest of its life to a goroutine.
func (g *group) start(ctx context.Context, now time.Time, failures int) {
	i := &instance{
		group: g, id: g.name + "-" + strings.ToLower(rand.Text()[:idLength]), phase: platform.Starting, startTime: now,
		failures: failures, drained: make(chan struct{}),
	}
	g.instances = append(g.instances, i)
	g.wg.Go(func() { i.live(ctx) })
}

// drain announces that an instance ends; its own goroutine does the rest.
func (g *group) drain(i *instance) {
	if i.phase == platform.Starting || i.phase == platform.Ready {
		i.phase = platform.Draining
		close(i.drained)
	}
}

// change tells the watchers and has the group reconciled. The caller holds mu.
func (g *group) change() {
	g.bump()
	select {
	case g.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// bump tells the watchers. The caller holds mu.
func (g *group) bump() {
	g.revision++
	close(g.changed)
	g.changed = make(chan struct{})
}

// State implements agent.Group.
func (g *group) State() (platform.State, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot(), g.changed, nil
}

func (g *group) snapshot() platform.State {
	s := platform.State{
		Group: g.name, Revision: g.revision, Generation: g.generation, Desired: g.desired, Size: g.size,
		Instances: make([]platform.Instance, len(g.instances)),
	}
	for n, i := range g.instances {
		s.Instances[n] = i.view()
	}
	return s
}

// Scale implements agent.Group.
func (g *group) Scale(c platform.Change) (platform.State, error) {
	if c.Instances < 0 || c.Instances > MaxInstances {
		return platform.State{}, &agent.RequestError{Text: fmt.Sprintf("instances: want 0 to %d, got %d", MaxInstances, c.Instances)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopping:
		return platform.State{}, agent.ErrStopping
	case c.Generation < g.generation:
		return platform.State{}, fmt.Errorf("group %q: generation %d is older than the last accepted one, %d: %w",
			g.name, c.Generation, g.generation, platform.ErrConflict)
	case c.ObservedDesired != g.desired:
		return platform.State{}, fmt.Errorf("group %q: %d instances were wanted when it was observed, now %d: %w",
			g.name, c.ObservedDesired, g.desired, platform.ErrConflict)
	}
	g.log.Info("group scaled", "desired", c.Instances, "previous", g.desired, "generation", c.Generation)
	g.desired, g.generation = c.Instances, c.Generation
	g.change()
	return g.snapshot(), nil
}

// running is the identities of the instances whose process may still run.
func (g *group) running() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := map[string]bool{}
	for _, i := range g.instances {
		if !i.gone {
			ids[i.id] = true
		}
	}
	return ids
}
