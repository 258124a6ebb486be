package local

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// vary makes the group of a trial: an image is a command, and replaces the first word of the group's.
func vary(base *group, name string, t platform.Trial) (*group, error) {
	if t.Size() != (platform.Size{}) {
		return nil, fmt.Errorf("cpu_cores and memory_bytes of a process of this machine are not bounded: %w", platform.ErrUnsupported)
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
	return newGroup(base.agent, name, spec), nil
}
