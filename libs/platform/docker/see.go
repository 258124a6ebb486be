package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
)

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
