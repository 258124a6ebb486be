package docker

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// asleep is the phase of a template that is stopped: it is no instance.
const asleep platform.Phase = ""

// unit is a container of a group.
type unit struct {
	platform.Instance
	// clone: it was made here, and is removed when it ends.
	clone bool
	// seen is what the engine last said of it, and state what its list said then.
	seen  container.InspectResponse
	state container.ContainerState
	// outdated: seen has to be read anew. touched counts what was done to it here.
	outdated bool
	touched  int
	// late: it ran before this agent did, so that how long it took to be ready is not known.
	late bool
	// since when it has been starting, and when it is checked next.
	since, checkAt time.Time
	vigil          agent.Vigil
	// proven: it has answered a check since its size was changed.
	proven bool
	// resizeAt is when a change of its size that was refused is tried again.
	resizeAt time.Time
	// drainAt is when it is told to end, once it drains; ending: it was.
	drainAt time.Time
	ending  bool
}

func (u *unit) container() string { return u.seen.ID }
func (u *unit) running() bool     { return u.seen.State != nil && u.seen.State.Running }
func (u *unit) live() bool {
	return (u.Phase == platform.Starting || u.Phase == platform.Ready) && !u.ending
}

// learn takes what the engine says of the container.
func (u *unit) learn(c container.InspectResponse, d workload.Docker) error {
	u.seen, u.outdated = c, false
	u.clone = c.Config.Labels[groupLabel] != ""
	u.Size = sizeOf(c.HostConfig.Resources)
	u.Version = short(strings.TrimPrefix(c.Image, "sha256:"))
	u.StartTime = started(c)
	// The template may be started many times; each time it is another instance.
	u.ID = strings.TrimPrefix(c.Name, "/") + "/" + short(c.ID) + "/" + strconv.FormatInt(u.StartTime.UnixMilli(), 36)
	var err error
	u.Address, err = address(c, d)
	return err
}

// touch notes that something was done to the container: what was seen before no longer holds.
func (u *unit) touch() { u.touched, u.outdated = u.touched+1, true }

// started is when a container was started, or made when it never was.
func started(c container.InspectResponse) time.Time {
	for _, text := range []string{c.State.StartedAt, c.Created} {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil && t.Year() > 1 {
			return t
		}
	}
	return time.Time{}
}

// steps are what is to be done about a group now.
type steps struct {
	// wake is the template when it is to be started again.
	wake *unit
	// create is how many are to be made.
	create int
	// drain are those that are no longer wanted, end those that have announced it, drop clones that have failed.
	drain, end, drop []*unit
	// resize are those whose size is to be changed.
	resize []*unit
}

// plan decides. Replacements wait until retryAt; what is not wanted goes at once. units are oldest first.
func plan(units []*unit, m memory, retryAt, now time.Time) steps {
	var s steps
	var live, failed []*unit
	var template *unit
	for _, u := range units {
		switch {
		case u.live():
			live = append(live, u)
		case u.ending:
		case u.Phase == platform.Draining:
			if !now.Before(u.drainAt) {
				s.end = append(s.end, u)
			}
		case u.clone:
			failed = append(failed, u)
		case template == nil && !u.running():
			template = u
		}
	}
	missing := m.Desired - len(live)
	s.drain = drainFirst(live)[:min(len(live), max(0, -missing))]
	if !now.Before(retryAt) {
		s.drop = failed
		if missing > 0 && template != nil {
			s.wake = template
			missing--
		}
		s.create = max(0, missing)
	}
	s.resize = resizable(live, s.drain, m.Size, now)
	return s
}

// drainFirst orders instances by how little is lost with them: those that do not serve yet, then the youngest, and the template
// last, which the others are made like.
func drainFirst(live []*unit) []*unit {
	sorted := slices.Clone(live)
	slices.Reverse(sorted)
	rank := func(u *unit) int {
		switch {
		case !u.clone:
			return 2
		case u.Phase == platform.Ready:
			return 1
		default:
			return 0
		}
	}
	slices.SortStableFunc(sorted, func(a, b *unit) int { return rank(a) - rank(b) })
	return sorted
}

// resizable returns those whose size is changed next: one alone first, and once that one serves with it all others.
func resizable(live, leaving []*unit, size platform.Size, now time.Time) []*unit {
	var todo []*unit
	done, proven := 0, true
	for _, u := range live {
		switch {
		case slices.Contains(leaving, u):
		case differs(u.Size, size):
			if !now.Before(u.resizeAt) {
				todo = append(todo, u)
			}
		default:
			done++
			proven = proven && u.proven && u.Phase == platform.Ready
		}
	}
	switch {
	case len(todo) == 0 || done > 0 && !proven:
		return nil
	case done == 0:
		return todo[:1]
	default:
		return todo
	}
}

// differs says whether an instance has another size than is asked for.
func differs(have, want platform.Size) bool {
	const tolerance = 1e-6 // the engine counts in billionths of a core
	return want.CPUCores > 0 && math.Abs(have.CPUCores-want.CPUCores) > tolerance || want.MemoryBytes > 0 && have.MemoryBytes != want.MemoryBytes
}
