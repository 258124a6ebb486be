package compare

import (
	"math/rand/v2"
	"sync"
)

// mostDue comparisons are made up for when no request came.
const mostDue = 2

// Turns choose which requests are compared: a share of them, and first those of whose answer by production the shape is known,
// for the tap describes few. The others have their turn when none of these has come for as long again. It is safe for
// concurrent use.
type Turns struct {
	ratio float64

	mu  sync.Mutex
	due float64
}

// NewTurns chooses a share of all requests, in [0, 1].
func NewTurns(ratio float64) *Turns { return &Turns{ratio: ratio} }

// Next reports whether the next request is compared.
func (t *Turns) Next(known bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	// At random, or traffic that comes in a rhythm would be compared at one beat of it.
	t.due = min(t.due+2*t.ratio*rand.Float64(), mostDue)
	if t.due < 1 || !known && t.due < mostDue {
		return false
	}
	t.due--
	return true
}
