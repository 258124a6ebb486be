package probe

import "math"

// Resource is what ran out first.
type Resource int

// Resources that a measurement can tell apart.
const (
	// UnknownResource: the steps do not show it.
	UnknownResource Resource = iota
	// CPU: at the broken levels the instance used what it may use, or all of one core.
	CPU
	// Memory: it grew with the load to what the instance may use.
	Memory
	// Network: the instance moved as many bytes as its link carries.
	Network
	// Concurrency: it completed no more at higher rates, or refused some, with all else to spare: workers, connections or
	// locks.
	Concurrency
	// Downstream: what it calls became slow or failed.
	Downstream
)

// Limits are what an instance may use; 0 when not known.
type Limits struct {
	CPUCores     float64
	MemoryBytes  uint64
	NetworkBytes float64 // per second
}

const (
	// busy is the share of a resource that an instance out of it uses; idle the share it stays below when that is not it.
	busy = 0.85
	idle = 0.70
	// grown is how many times its memory at the lowest level an instance out of memory uses at least: much memory used at any
	// load is a cache.
	grown = 1.1
	// saturated is the share of the offered requests that an instance at its limit no longer completes well.
	saturated = 0.90
	// slower is how many times as long a call downstream takes when that is it, failing the share of calls that fail then.
	slower, failing = 1.5, 0.01
	// overloaded is how far above the knee a level shows what is out; just above it much is not quite.
	overloaded = 1.5
)

// Bottleneck names what ran out first, from the steps alone. It would rather not answer than guess.
func Bottleneck(steps []Step, knee float64, limits Limits) Resource {
	e, ok := gather(steps, knee)
	if !ok {
		return UnknownResource
	}
	shares := map[Resource]float64{CPU: e.over.CPUCores / positive(limits.CPUCores), Network: e.over.NetworkBytes / positive(limits.NetworkBytes)}
	if float64(e.over.MemoryBytes) >= grown*float64(e.low.MemoryBytes) {
		shares[Memory] = float64(e.over.MemoryBytes) / positive(float64(limits.MemoryBytes))
	}
	first := UnknownResource
	for _, r := range []Resource{CPU, Memory, Network} {
		if shares[r] >= busy && shares[r] > shares[first] {
			first = r
		}
	}
	cpu := e.over.CPUCores
	switch {
	case first != UnknownResource:
		return first
	// A program with one thread stops at one core, however many there are.
	case cpu >= busy && cpu <= 1.05:
		return CPU
	case cpu == 0 || cpu >= idle*positive(limits.CPUCores) || limits.CPUCores == 0 && cpu >= idle:
		return UnknownResource
	case e.over.DownstreamSeconds > slower*e.low.DownstreamSeconds && e.low.DownstreamSeconds > 0, e.over.DownstreamErrors > failing:
		return Downstream
	case e.refuses || e.saturates:
		return Concurrency
	}
	return UnknownResource
}

// evidence is what the steps show of an instance at ease and of one under too much load.
type evidence struct {
	low, over          Resources
	refuses, saturates bool
}

// gather is false when no level above the knee broke the SLO.
func gather(steps []Step, knee float64) (e evidence, ok bool) {
	lowest, quiet := math.Inf(1), false
	for _, s := range steps {
		switch {
		case !s.Valid:
		case s.Met:
			quiet = true
			if s.Offered < lowest {
				lowest, e.low = s.Offered, s.Resources
			}
		case s.Offered >= knee:
			ok = true
			o := &e.over
			o.CPUCores, o.MemoryBytes = max(o.CPUCores, s.Resources.CPUCores), max(o.MemoryBytes, s.Resources.MemoryBytes)
			o.NetworkBytes, o.DownstreamErrors = max(o.NetworkBytes, s.Resources.NetworkBytes), max(o.DownstreamErrors, s.Resources.DownstreamErrors)
			o.DownstreamSeconds = max(o.DownstreamSeconds, s.Resources.DownstreamSeconds)
			e.refuses = e.refuses || s.Broken == BrokenErrors
			e.saturates = e.saturates || saturates(s)
		}
	}
	// Errors at every level are no sign of a limit.
	e.refuses = e.refuses && quiet
	return e, ok
}

func saturates(s Step) bool { return s.Completed*(1-s.ErrorRatio) <= saturated*s.Offered }

// positive turns a limit that is not known into one that nothing comes near.
func positive(limit float64) float64 {
	if limit <= 0 {
		return math.Inf(1)
	}
	return limit
}
