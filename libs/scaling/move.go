package scaling

import (
	"slices"
	"time"
)

// move is how far production has come on the way to another size.
type move struct {
	to    *Tried    // nil: it is not on the way
	since time.Time // when it was first asked for
	quiet time.Time // until then nothing is asked for, for the last move did not arrive
}

// movesPerMemory bounds a move: a size that all instances do not have by then is one that the platform or a guardrail
// refuses. As long as SizeMemory it is left alone then.
const movesPerMemory = 6

// resize moves production to the size that costs least. Until every instance has it, some have the old size, some the new
// one, and some one in between that nobody ever measured: as many are held as either size takes, and instances only get
// smaller when there are enough of them. Sizes are not derived from use beside that, or they would undo it.
func (d *decider) resize(best Alternative, found bool) {
	p, m := &d.out.Production, &d.state.move
	p.CPUCores, p.MemoryBytes = 0, 0
	if m.to != nil {
		// What was last found of the configuration counts; one that is not there any more has failed since.
		i := slices.IndexFunc(d.in.Tried, func(t Tried) bool { return t.Name == m.to.Name && t.InstanceSize == m.to.InstanceSize })
		switch {
		case d.in.Size.Near(m.to.InstanceSize) && d.in.Size != (InstanceSize{}), i < 0:
			m.to = nil
		case d.now.Sub(m.since) > d.c.SizeMemory/movesPerMemory:
			d.ground(Reason{Code: SizeChangeFailed, Detail: m.to.Name})
			*m = move{quiet: d.now.Add(d.c.SizeMemory)}
		default:
			now := d.in.Tried[i]
			m.to = &now
		}
	}
	if m.to == nil && found && d.in.Size != (InstanceSize{}) && !d.now.Before(m.quiet) {
		*m = move{to: &best.Tried, since: d.now}
	}
	if m.to == nil || !d.demand || !d.holds(m.to.Capacity) {
		return
	}
	n := min(max(instancesFor(d.load(), m.to.Capacity.counted(d.c.Risk, d.c.Imbalance)), d.c.MinInstances), d.c.MaxInstances)
	p.Instances = max(p.Instances, n)
	if d.in.Instances.Ready < n {
		d.ground(Reason{Code: SizeChangeGrows, Detail: m.to.Name, to: n})
		return
	}
	p.CPUCores, p.MemoryBytes = m.to.CPUCores, m.to.MemoryBytes
	d.ground(Reason{Code: SizeChange, Detail: m.to.Name})
}
