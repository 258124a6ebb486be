package probe

// Resource is what ran out first.
type Resource int

// Resources that a measurement can tell apart.
const (
	// UnknownResource: the steps do not show it.
	UnknownResource Resource = iota
	// CPU: at the broken levels the instance used what it may use, or all of one core.
	CPU
	// Concurrency: it completed no more at higher rates, with CPU to spare: workers, connections or locks.
	Concurrency
)

const (
	// busy is the share of its CPU that an instance out of CPU uses; idle the share it stays below when CPU is not it.
	busy = 0.85
	idle = 0.70
	// flat is how little more is completed above the knee than at it.
	flat = 1.10
)

// Bottleneck names what ran out first, from the steps alone; cores is how many the instance may use, 0 when not known. It
// would rather not answer than guess.
func Bottleneck(steps []Step, knee, cores float64) Resource {
	var cpu, completed float64
	over := false
	for _, s := range steps {
		if !s.Valid || s.Met || s.Offered < knee || s.Broken == BrokenErrors {
			continue
		}
		over = true
		cpu, completed = max(cpu, s.CPUCores), max(completed, s.Completed)
	}
	switch {
	case !over || cpu == 0:
		return UnknownResource
	case cores > 0 && cpu >= busy*cores:
		return CPU
	// A program with one thread stops at one core, however many there are.
	case cpu >= busy && cpu <= 1.05:
		return CPU
	case cpu < idle && (cores == 0 || cpu < idle*cores) && completed <= flat*knee:
		return Concurrency
	}
	return UnknownResource
}
