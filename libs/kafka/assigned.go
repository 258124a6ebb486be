package kafka

import (
	"sync"
	"time"
)

// assigned tells the owner of a consumer how many partitions it has. A member that has lost the broker does not learn that they are
// another's by now: it has none from when they may be, a session after its generation ended.
type assigned struct {
	tell func(partitions int)

	mu         sync.Mutex // over tell: one call at a time
	generation int32
	lapse      *time.Timer // nil while a generation lasts
	left       bool
}

func newAssigned(tell func(int)) *assigned {
	if tell == nil {
		tell = func(int) {}
	}
	return &assigned{tell: tell}
}

// begins tells of a generation.
func (a *assigned) begins(generation int32, partitions int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return
	}
	a.stop()
	a.generation = generation
	a.tell(partitions)
}

// ends notes that a generation is over. The next one tells what this member has now, unless it does not come.
func (a *assigned) ends(generation int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left || a.generation != generation {
		return
	}
	a.stop()
	var lapse *time.Timer
	lapse = time.AfterFunc(sessionTimeout, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.lapse == lapse { // otherwise a generation has begun while this waited for its turn
			a.lapse = nil
			a.tell(0)
		}
	})
	a.lapse = lapse
}

// leave is the last that is told.
func (a *assigned) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return
	}
	a.stop()
	a.left = true
	a.tell(0)
}

// stop is called with mu held.
func (a *assigned) stop() {
	if a.lapse != nil {
		a.lapse.Stop()
		a.lapse = nil
	}
}
