package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

const (
	// trialLabel marks the containers of a trial with the name of the group that they form, trialOfLabel with that of the group
	// that is varied. They have no label else but groupLabel: neither the varied group nor Docker Compose nor a proxy that goes by
	// labels takes them for its own.
	trialLabel   = "foreshadow.dev/trial"
	trialOfLabel = "foreshadow.dev/trial-of"
)

// vary makes the group of a trial. It is as the group stands when it is begun: a template that is stopped will do.
func (a *Agent) vary(base *group, name string, t platform.Trial) (*group, error) {
	base.mu.Lock()
	defer base.mu.Unlock()
	if err := base.usable(); err != nil {
		return nil, err
	}
	if !base.swept.Load() {
		return nil, fmt.Errorf("what is left of earlier trials is not removed yet: %w", agent.ErrAway)
	}
	like := varied(*base.pattern(), base.name, name, t)
	if _, err := clone(like, name, t.Size()); err != nil {
		return nil, err
	}
	spec := base.spec
	spec.Labels = map[string]string{trialLabel: name}
	g := a.newGroup(name, spec)
	g.known = true // that there is none of it yet
	g.like, g.begin = &like, memory{Desired: t.Instances, Size: t.Size()}
	g.memory = g.begin
	return g, nil
}

// varied is a container but for what is tried, for its labels and for the names by which others find it. With another image its
// command and environment stay: what of them came from its own image is not known here.
func varied(like container.InspectResponse, group, name string, t platform.Trial) container.InspectResponse {
	config, host, networks := *like.Config, *like.HostConfig, map[string]*network.EndpointSettings{}
	like.Name = "/" + strings.ReplaceAll(name, ".", "-")
	like.Image = cmp.Or(t.Image, like.Image)
	config.Labels = map[string]string{trialOfLabel: group, trialLabel: name}
	config.Env = withEnv(config.Env, t.Env)
	// One that is left by an agent that was killed must not come back with the machine; here it is replaced.
	host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyDisabled}
	for name, n := range like.NetworkSettings.Networks {
		if n = n.Copy(); n != nil {
			n.Aliases = nil
		}
		networks[name] = n
	}
	like.Config, like.HostConfig, like.NetworkSettings = &config, &host, &container.NetworkSettings{Networks: networks}
	return like
}

// withEnv sets variables, in the order of their names, over a list of NAME=value.
func withEnv(list []string, values map[string]string) []string {
	out := slices.DeleteFunc(slices.Clone(list), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, set := values[name]
		return set
	})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, name+"="+values[name])
	}
	return out
}

// sweep removes the trials of a group that an agent before this one has left: whoever asked for them asks again.
func (g *group) sweep(ctx context.Context) {
	g.swept.Store(g.clear(ctx, map[string]string{trialOfLabel: g.name}))
}

// clear removes the containers that have labels. While the engine does not let it, it tries again until ctx ends, and then
// returns false: the next agent finds what is left.
func (g *group) clear(ctx context.Context, labels map[string]string) bool {
	for {
		err := g.clearOnce(ctx, labels)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		g.log.Debug("containers of trials not removed, retrying", "err", err)
		timer := time.NewTimer(g.timing.awayMax)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (g *group) clearOnce(ctx context.Context, labels map[string]string) error {
	list, err := g.engine.list(ctx, labels)
	if err != nil {
		return err
	}
	errs := make([]error, len(list))
	var calls errgroup.Group
	calls.SetLimit(atOnce)
	for i := range list {
		calls.Go(func() error {
			if errs[i] = g.engine.stop(ctx, list[i].ID, g.spec.DrainTimeout); errs[i] == nil {
				errs[i] = g.engine.remove(ctx, list[i].ID)
			}
			return nil
		})
	}
	_ = calls.Wait() // the errors are in errs
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("group %q: %w", g.name, err)
	}
	return nil
}
