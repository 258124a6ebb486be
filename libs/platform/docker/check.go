package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// check asks those that are due whether they serve.
func (g *group) check(ctx context.Context, now time.Time) {
	g.mu.Lock()
	var due []*unit
	for _, u := range g.units {
		if u.live() && !now.Before(u.checkAt) {
			due = append(due, u)
		}
	}
	asked := make([]unit, len(due))
	for i, u := range due {
		asked[i] = *u
	}
	g.mu.Unlock()
	answers := make([]error, len(due))
	var calls errgroup.Group
	calls.SetLimit(atOnce)
	for i := range asked {
		calls.Go(func() error {
			answers[i] = g.serves(ctx, &asked[i])
			return nil
		})
	}
	_ = calls.Wait() // each error is an answer
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, u := range due {
		if u.live() {
			g.judge(u, answers[i], time.Now())
		}
	}
}

// errNotAsked says that the engine did not tell how a container is, which says nothing of the container.
var errNotAsked = errors.New("the engine did not answer")

// serves returns nil when a unit serves, else why it does not.
func (g *group) serves(ctx context.Context, u *unit) error {
	ctx, cancel := context.WithTimeout(ctx, g.timing.checkTimeout)
	defer cancel()
	if g.spec.ReadyPath == "" {
		c, err := g.engine.inspect(ctx, u.container())
		switch {
		case errors.Is(err, platform.ErrNotFound):
			return err
		case err != nil:
			return fmt.Errorf("%w: %w", errNotAsked, err)
		case !c.State.Running:
			return errors.New("does not run")
		case c.State.Health != nil && c.State.Health.Status != container.Healthy && c.State.Health.Status != container.NoHealthcheck:
			return fmt.Errorf("its health check says %s", c.State.Health.Status)
		}
		return nil
	}
	if u.Address == "" {
		return errors.New("has no address yet")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.Address+g.spec.ReadyPath, nil)
	if err != nil {
		return fmt.Errorf("make check: %w", err)
	}
	resp, err := g.probe.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}

// judge moves a unit on by the answer to its check. The caller holds mu.
func (g *group) judge(u *unit, answer error, now time.Time) {
	switch {
	case answer == nil:
		u.checkAt, u.proven = now.Add(g.timing.checkEvery), true
		u.vigil.Well(now)
		if u.Phase == platform.Starting {
			u.Phase = platform.Ready
			if !u.late {
				u.ReadyTime = now
			}
			g.log.Info("instance ready", "instance", u.ID, "duration_ms", now.Sub(u.StartTime).Milliseconds())
			g.bump()
		} else if !u.ReadyTime.IsZero() && now.Sub(u.ReadyTime) >= g.timing.goodLife {
			g.failures = 0
		}
	case u.Phase == platform.Ready:
		u.checkAt = now.Add(g.timing.checkEvery)
		if errors.Is(answer, errNotAsked) {
			return
		}
		if reason := u.vigil.Missed(answer, now, g.timing.patience); reason != "" {
			g.fail(u, reason, now)
			g.end(u)
			g.bump()
		}
	default:
		u.outdated = u.Address == ""
		if now.Sub(u.since) >= g.spec.StartTimeout {
			g.fail(u, fmt.Sprintf("not ready within %s: %v", g.spec.StartTimeout, answer), now)
			g.end(u)
			g.bump()
		}
	}
}
