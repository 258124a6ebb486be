package command

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/provisioner"
)

// place is a platform that groups are on.
type place interface {
	State(ctx context.Context, group string) (platform.State, error)
	Scale(ctx context.Context, group string, change platform.Change) (platform.State, error)
	Usage(ctx context.Context, group string) ([]platform.Usage, error)
	Watch(ctx context.Context, group string, fn func(platform.State, error))
}

// places finds the platform of each group.
type places struct {
	groups map[string]place
	local  *local.Client
	docker *agent.Client
	// kubernetes is nil when no group is on it, and so are its trials.
	kubernetes *kubernetes.Client
	trials     *kubernetes.Trials
}

// places makes a client of each platform that the process needs; it does no I/O.
func (p *process) places() (*places, error) { return newPlaces(p.file, p.kubernetes, p.log) }

// newPlaces makes a client of each platform that is needed; it does no I/O. A connection to the API server that there is
// already is used: what bounds the requests to one that is away bounds those of the whole process.
func newPlaces(f file, connected *kubernetes.Client, log *slog.Logger) (*places, error) {
	p := &places{
		groups: map[string]place{}, local: local.NewClient(f.LocalPlatform.Socket), docker: agent.NewClient(f.DockerPlatform.Socket),
	}
	groups, err := kubernetes.Groups(f.Workloads)
	if err != nil {
		return nil, err
	}
	if connected != nil {
		p.kubernetes = connected.For(groups)
	} else if len(groups) > 0 {
		if p.kubernetes, err = kubernetes.New(f.Kubernetes, groups); err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
	}
	if p.kubernetes != nil {
		p.trials = p.kubernetes.Trials(f.Workloads, log)
	}
	for _, w := range f.Workloads {
		for _, t := range []workload.Target{w.Production, w.Shadow} {
			if err := p.add(t); err != nil {
				return nil, fmt.Errorf("workload %q: %w", w.Name, err)
			}
		}
	}
	return p, nil
}

func (p *places) add(t workload.Target) error {
	var at place = p.local
	switch t.Platform {
	case workload.PlatformKubernetes:
		at = p.kubernetes
	case workload.PlatformDocker:
		at = p.docker
	}
	if other, taken := p.groups[t.Group]; taken && other != at {
		return fmt.Errorf("group %q is on two platforms", t.Group)
	}
	p.groups[t.Group] = at
	return nil
}

// find returns where a group is, or one that a trial of it forms.
func (p *places) find(group string) (place, bool) {
	at, known := p.groups[group]
	if base, _, is := platform.SplitTrialGroup(group); is && !known {
		at, known = p.groups[base]
	}
	return at, known
}

// State implements place.
func (p *places) State(ctx context.Context, group string) (platform.State, error) {
	at, known := p.find(group)
	if !known {
		return platform.State{}, platform.NotFound(group)
	}
	return at.State(ctx, group)
}

// Scale implements place.
func (p *places) Scale(ctx context.Context, group string, change platform.Change) (platform.State, error) {
	at, known := p.groups[group]
	if !known {
		return platform.State{}, platform.NotFound(group)
	}
	return at.Scale(ctx, group, change)
}

// Usage implements place.
func (p *places) Usage(ctx context.Context, group string) ([]platform.Usage, error) {
	at, known := p.find(group)
	if !known {
		return nil, platform.NotFound(group)
	}
	return at.Usage(ctx, group)
}

// Watch implements place.
func (p *places) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	at, known := p.find(group)
	if !known {
		fn(platform.State{}, platform.NotFound(group))
		<-ctx.Done()
		return
	}
	at.Watch(ctx, group, fn)
}

// Surroundings says what bounds a change of a group, where its platform knows.
func (p *places) Surroundings(ctx context.Context, group string) (platform.Surroundings, error) {
	if s, can := p.groups[group].(interface {
		Surroundings(ctx context.Context, group string) (platform.Surroundings, error)
	}); can {
		return s.Surroundings(ctx, group)
	}
	return platform.Surroundings{}, nil
}

// Fence makes a group refuse older leaderships, where its platform can.
func (p *places) Fence(ctx context.Context, group string, epoch uint64) error {
	if f, can := p.groups[group].(interface {
		Fence(ctx context.Context, group string, epoch uint64) error
	}); can {
		return f.Fence(ctx, group, epoch)
	}
	return nil
}

// Copy makes a shadow of production, where the platform of the shadow can.
func (p *places) Copy(ctx context.Context, production, shadow string) error {
	c, can := p.groups[shadow].(provisioner.Copier)
	if !can {
		return fmt.Errorf("group %q: its platform makes no copies", shadow)
	}
	return c.Copy(ctx, production, shadow)
}
