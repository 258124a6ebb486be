package stratum

import (
	"sync"
	"sync/atomic"
)

// vocabulary keeps a part of the stratum at bounded cardinality: the first values keep their name, all later ones share one.
type vocabulary struct {
	max  int
	rest string

	mu    sync.RWMutex
	known map[string]string
	// over counts what was folded into the rest.
	over atomic.Uint64
}

func newVocabulary(max int, rest string) *vocabulary {
	return &vocabulary{max: max, rest: rest, known: map[string]string{}}
}

// admit returns the value, or what stands for the rest. The bytes are looked up before they become a string, so that a
// known value costs no allocation.
func (v *vocabulary) admit(value []byte) string {
	v.mu.RLock()
	s, ok := v.known[string(value)]
	full := len(v.known) >= v.max
	v.mu.RUnlock()
	if ok {
		return s
	}
	if full {
		v.over.Add(1)
		return v.rest
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= v.max {
		v.over.Add(1)
		return v.rest
	}
	s = string(value)
	v.known[s] = s
	return s
}

// forget lets values earn their names anew; those in use come back with their next request.
func (v *vocabulary) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.known)
}
