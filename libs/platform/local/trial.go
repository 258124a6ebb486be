package local

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// vary makes the group of a trial: an image is a command, and replaces the first word of the group's. CPU and memory are bounded
// where control groups can be made, and refused where they cannot.
func vary(base *group, name string, t platform.Trial) (*group, error) {
	if t.Size() != (platform.Size{}) && base.agent.tree == nil {
		return nil, fmt.Errorf("cpu_cores and memory_bytes of a process of this machine cannot be bounded: %w: %w", platform.ErrUnsupported, base.agent.noTree)
	}
	spec := base.spec
	p := &spec.Process
	p.Command, p.Env, p.Initial = slices.Clone(p.Command), maps.Clone(p.Env), t.Instances
	if p.Env == nil {
		p.Env = map[string]string{}
	}
	maps.Copy(p.Env, t.Env)
	p.Command[0] = cmp.Or(t.Image, p.Command[0])
	spec.Version = Version(*p)
	g := newGroup(base.agent, name, spec)
	g.size = t.Size()
	return g, nil
}
