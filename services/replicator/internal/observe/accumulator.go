// Package observe counts production's traffic per stratum in stretches of one second of the wall clock, and publishes each
// second once it has ended. Every arrival and every completion is counted in exactly one second: the clock is read under the
// lock that guards the counters, so nothing can be added to a second that was taken already.
package observe

import (
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
)

// Width is the length of the stretch of time that one observation covers.
const Width = time.Second

// maxIdleGap bounds the empty seconds that are vouched for after the fact. A process that was stopped for longer has not
// been watching, and must not report zero load for that time.
const maxIdleGap = 2 * Width

// Second is what one stretch of time saw.
type Second struct {
	// Start is aligned to Width.
	Start time.Time
	// Strata is empty when nothing happened.
	Strata metric.Strata
	// MaxInFlight is the highest number of requests in flight at once.
	MaxInFlight int
}

// Completion is how one request ended.
type Completion struct {
	// Blind: how it ended was not seen, so that it is no response, neither good nor bad.
	Blind         bool
	Failed        bool
	SLOViolated   bool
	Sampled       bool
	RequestBytes  int64
	ResponseBytes int64
	// Latency is negative when it is not known.
	Latency time.Duration
}

// Accumulator counts; it is safe for concurrent use. Its one mutex is held for a fraction of a microsecond per call
// (BenchmarkAccumulator), so that sharding would only pay beyond some hundred thousand requests per second.
type Accumulator struct {
	now func() time.Time

	mu       sync.Mutex
	inFlight int
	current  Second
	closed   []Second
}

// NewAccumulator starts with the second that now falls into.
func NewAccumulator(now func() time.Time) *Accumulator {
	a := &Accumulator{now: now}
	a.current = a.begin(metric.WindowStart(now(), Width))
	return a
}

// Arrive counts a request at its arrival; a Complete must follow.
func (a *Accumulator) Arrive(st traffic.Stratum) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll()
	a.current.Strata.At(st).Requests++
	a.inFlight++
	a.current.MaxInFlight = max(a.current.MaxInFlight, a.inFlight)
}

// Complete counts the end of a request that arrived.
func (a *Accumulator) Complete(st traffic.Stratum, c Completion) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll()
	a.inFlight--
	n := a.current.Strata.At(st)
	if !c.Blind {
		n.Responses++
	}
	if c.Failed {
		n.Errors++
	}
	if c.SLOViolated {
		n.SLOViolations++
	}
	if c.Sampled {
		n.Sampled++
	}
	n.RequestBytes += uint64(max(c.RequestBytes, 0))
	n.ResponseBytes += uint64(max(c.ResponseBytes, 0))
	if !c.Blind && c.Latency >= 0 {
		n.Latency.Add(c.Latency.Seconds())
	}
}

// Copy counts a copy that was made after its request was completed.
func (a *Accumulator) Copy(st traffic.Stratum) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll()
	a.current.Strata.At(st).Sampled++
}

// InFlight is the number of requests that arrived and have not ended.
func (a *Accumulator) InFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inFlight
}

// Take removes and returns the seconds that have ended, oldest first.
func (a *Accumulator) Take() []Second {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll()
	taken := a.closed
	a.closed = nil
	return taken
}

// TakeAll is Take with the running second, cut short; for the end of the process.
func (a *Accumulator) TakeAll() []Second {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll()
	taken := slices.Concat(a.closed, []Second{a.current})
	a.closed, a.current = nil, a.begin(a.current.Start)
	return taken
}

// roll closes the current second when the clock has left it, in either direction: after a step back a second is simply
// observed twice, and readers add the two.
func (a *Accumulator) roll() {
	start := metric.WindowStart(a.now(), Width)
	if start.Equal(a.current.Start) {
		return
	}
	a.closed = append(a.closed, a.current)
	if gap := start.Sub(a.current.Start) - Width; gap > 0 && gap <= maxIdleGap {
		for at := a.current.Start.Add(Width); at.Before(start); at = at.Add(Width) {
			a.closed = append(a.closed, a.begin(at))
		}
	}
	a.current = a.begin(start)
}

func (a *Accumulator) begin(start time.Time) Second {
	return Second{Start: start, Strata: metric.Strata{}, MaxInFlight: a.inFlight}
}
