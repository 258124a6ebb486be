// Package budget sheds the sample before copying it costs production: it watches what part of its processors this process
// uses and says which share of the sample may be copied. It knows nothing of requests, which are never shed.
package budget

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// interval is how often the use is looked at: short against a scale-up, long against the clock that counts CPU time.
	interval = 200 * time.Millisecond
	// shed is what is kept of the share when the budget is exceeded, and recover what is added when it is not: quick down and
	// slow up, or the share would swing.
	shed     = 0.7
	recovery = 0.02
	// slack is how far below the budget the use must be before the share grows.
	slack = 0.9
	// least is the share below which nothing is copied.
	least = 0.005
)

// Budget is safe for concurrent use.
type Budget struct {
	limit float64
	share atomic.Uint64 // bits of a float64
	// used returns the CPU time of this process so far.
	used func() (time.Duration, bool)
}

// New returns a budget of a part of the processors, in (0, 1]; 1 never sheds.
func New(limit float64) *Budget {
	b := &Budget{limit: limit, used: cpuTime}
	b.share.Store(math.Float64bits(1))
	return b
}

// Share is the part of the sample that may be copied now, in [0, 1].
func (b *Budget) Share() float64 { return math.Float64frombits(b.share.Load()) }

// Run adjusts the share until ctx ends.
func (b *Budget) Run(ctx context.Context) {
	if b.limit >= 1 {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	at := time.Now()
	before, known := b.used()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		used, ok := b.used()
		if known && ok && now.After(at) {
			load := float64(used-before) / float64(now.Sub(at)) / float64(runtime.GOMAXPROCS(0))
			b.share.Store(math.Float64bits(next(b.Share(), load, b.limit)))
		}
		at, before, known = now, used, ok
	}
}

// next is the share after a stretch of time with the given load.
func next(share, load, limit float64) float64 {
	switch {
	case load > limit:
		if share *= shed; share < least {
			return 0
		}
	case load < limit*slack:
		return min(1, share+recovery)
	}
	return share
}
