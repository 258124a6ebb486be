// Package reservoir keeps the newest captured requests of one workload, bounded in number and bytes: the mix that a
// capacity measurement draws from, and the rate production has right now.
package reservoir

import (
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

const (
	// rateSpan is how many seconds the rate of production is averaged over.
	rateSpan = 10
	// rateStale is how old the newest request may be: older ones say nothing of now, and silence is not zero load.
	rateStale = 30 * time.Second
)

// Reservoir is safe for concurrent use.
type Reservoir struct {
	maxItems, maxBytes int

	mu     sync.Mutex
	items  []*captured.Request // oldest first
	bytes  int
	second map[int64]float64 // sum of weights per second of arrival
	newest int64
}

// New returns an empty reservoir.
func New(maxItems, maxBytes int) *Reservoir {
	return &Reservoir{maxItems: maxItems, maxBytes: maxBytes, second: map[int64]float64{}}
}

// Add keeps a request, and lets go of the oldest ones when there is no room.
func (r *Reservoir) Add(req *captured.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, req)
	r.bytes += req.Size()
	drop := 0
	for len(r.items)-drop > r.maxItems || r.bytes > r.maxBytes && len(r.items)-drop > 1 {
		r.bytes -= r.items[drop].Size()
		r.items[drop] = nil
		drop++
	}
	r.items = r.items[drop:]
	r.count(req)
}

func (r *Reservoir) count(req *captured.Request) {
	s := req.Arrive.Unix()
	if s <= r.newest-2*rateSpan {
		return
	}
	r.second[s] += req.Weight
	if s > r.newest {
		r.newest = s
		for old := range r.second {
			if old <= s-2*rateSpan {
				delete(r.second, old)
			}
		}
	}
}

// Len is the number of requests kept.
func (r *Reservoir) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.items)
}

// Rate is production's rate in requests per second over the last seconds that are complete, weights included; false when
// nothing recent is known.
func (r *Reservoir) Rate(now time.Time) (float64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest == 0 || now.Sub(time.Unix(r.newest, 0)) > rateStale {
		return 0, false
	}
	first, sum := r.newest, 0.0
	for s := range r.second {
		first = min(first, s)
	}
	// Of the first second only the rest was heard, where a runner began to read in the middle of it. The newest is still filling, and
	// requests of other partitions may be a second behind.
	from, to := max(first+1, r.newest-1-rateSpan), r.newest-1
	if from >= to {
		return 0, false
	}
	for s := from; s < to; s++ {
		sum += r.second[s]
	}
	return sum / float64(to-from), true
}

// Mix returns what is kept as a mix to draw from; nil when empty.
func (r *Reservoir) Mix() *Mix {
	r.mu.Lock()
	items := slices.Clone(r.items)
	r.mu.Unlock()
	return NewMix(items)
}
