package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// atOnce bounds the calls to the engine, and the checks, that are under way.
const atOnce = 16

// act does what is due. What the engine refuses is tried again at the next look.
func (g *group) act(ctx context.Context, now time.Time) error {
	g.mu.Lock()
	s := plan(g.units, g.memory, g.retryAt, now)
	for _, u := range s.drain {
		u.Phase, u.drainAt = platform.Draining, now.Add(g.timing.drainGrace)
		g.log.Info("instance drains", "instance", u.ID, "reason", "fewer wanted")
	}
	if len(s.drain) > 0 {
		g.bump()
	}
	for _, u := range s.end {
		g.end(u)
	}
	for _, u := range s.drop {
		g.end(u)
	}
	o := order{group: g.name, size: g.memory.Size, first: 2}
	if g.like != nil {
		o.first = 1 // what they are like is none of them
	}
	if like := g.pattern(); like != nil {
		o.like = *like
	}
	for _, u := range g.units {
		o.taken = append(o.taken, strings.TrimPrefix(u.seen.Name, "/"))
	}
	g.mu.Unlock()
	var errs []error
	if s.wake != nil {
		errs = append(errs, g.start(ctx, s.wake, now))
	}
	making, release := ctx, func() {}
	if g.like != nil {
		making, release = g.outlasting() // one that is half made when the trial ends would be left
	}
	defer release()
	for range s.create {
		if ctx.Err() != nil {
			break
		}
		// One after the other: each takes the engine well under a second, and their names must not collide.
		id, err := g.engine.create(making, o)
		if err != nil {
			errs = append(errs, err)
			break
		}
		g.log.Info("instance made", "instance", short(id))
		if err := g.admit(ctx, id, now, &o.taken); err != nil {
			errs = append(errs, err)
			break
		}
	}
	for _, u := range s.resize {
		g.resize(ctx, u, o.size, now)
	}
	return errors.Join(errs...)
}

// admit takes up a container that was made.
func (g *group) admit(ctx context.Context, id string, now time.Time, taken *[]string) error {
	c, err := g.engine.inspect(ctx, id)
	if err != nil {
		return err
	}
	u := &unit{since: now, proven: true, state: container.StateRunning}
	err = u.learn(c, g.spec.Docker)
	u.Phase = platform.Starting
	*taken = append(*taken, strings.TrimPrefix(c.Name, "/"))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.units = append(g.units, u)
	g.bump()
	return errors.Join(err, g.settle(false))
}

// start starts the template again.
func (g *group) start(ctx context.Context, u *unit, now time.Time) error {
	if err := g.engine.start(ctx, u.container()); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	u.Phase, u.since, u.late, u.ReadyTime, u.Address, u.checkAt = platform.Starting, now, false, time.Time{}, "", time.Time{}
	u.touch()
	g.bump()
	return nil
}

// end has a unit stopped, and removed if it is a clone, beside the looks. The caller holds mu.
func (g *group) end(u *unit) {
	u.ending = true
	id, clone, within := u.container(), u.clone, g.spec.DrainTimeout
	g.ending.Go(func() {
		lasting, release := g.outlasting()
		defer release()
		ctx, cancel := context.WithTimeout(lasting, within+2*callTimeout)
		defer cancel()
		err := g.engine.stop(ctx, id, within)
		if err == nil && clone {
			err = g.engine.remove(ctx, id)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		u.touch()
		switch {
		case err != nil:
			u.ending, u.Phase, u.drainAt = false, platform.Draining, time.Now().Add(g.timing.retryFirst)
			g.log.Warn("instance not ended, retrying", "instance", u.ID, "err", err)
		case !clone:
			u.ending, u.Phase = false, asleep // it is started again when it is needed
			u.seen.State.Running = false
			g.bump()
		}
		g.nudge()
	})
}

// outlasting is a context for what outlives the agent's own end, but not for long: the engine goes on with it.
func (g *group) outlasting() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-g.timing.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// resize changes the size of a unit that runs.
func (g *group) resize(ctx context.Context, u *unit, size platform.Size, now time.Time) {
	err := g.fits(ctx, u, size)
	if err == nil {
		err = g.engine.resize(ctx, u.seen, size)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		u.resizeAt = now.Add(g.timing.resizeRetry)
		g.log.Warn("size of instance not changed", "instance", u.ID, "err", err)
		return
	}
	u.Size, u.proven, u.checkAt = u.Size.With(size), false, time.Time{}
	u.touch()
	g.log.Info("size of instance changed", "instance", u.ID)
	g.bump()
}

// fits refuses a memory limit that a unit would be killed by.
func (g *group) fits(ctx context.Context, u *unit, size platform.Size) error {
	if size.MemoryBytes == 0 || u.Size.MemoryBytes > 0 && size.MemoryBytes >= u.Size.MemoryBytes {
		return nil
	}
	used, err := g.engine.usage(ctx, u.container())
	if err != nil {
		return err
	}
	if used.MemoryBytes > uint64(size.MemoryBytes)/10*9 { // #nosec G115: above 0
		return fmt.Errorf("it uses %d MiB of memory, too many for a limit of %d MiB", used.MemoryBytes>>20, size.MemoryBytes>>20)
	}
	return nil
}

// Usage implements agent.Group.
func (g *group) Usage(ctx context.Context) ([]platform.Usage, error) {
	g.mu.Lock()
	err := g.usable()
	var units []unit
	for _, u := range g.units {
		if u.Phase != asleep && u.running() {
			units = append(units, *u)
		}
	}
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	out := []platform.Usage{}
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(atOnce)
	for i := range units {
		u := &units[i]
		calls.Go(func() error {
			read, err := g.engine.usage(ctx, u.container())
			if errors.Is(err, platform.ErrNotFound) {
				return nil
			}
			read.Instance, read.Ready = u.ID, u.Phase == platform.Ready
			mu.Lock()
			defer mu.Unlock()
			out = append(out, read)
			return err
		})
	}
	if err := calls.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b platform.Usage) int { return strings.Compare(a.Instance, b.Instance) })
	return out, nil
}
