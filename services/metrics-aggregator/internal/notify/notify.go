// Package notify wakes those who wait for the next commit, within one process. It promises only to save them time: a
// commit of another process rings no bell here, so whoever waits also looks by himself now and then.
package notify

import "sync"

// Bell is heard by all who wait when it rings. The zero value is ready to use.
type Bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// Heard returns a channel that is closed at the next ring. Take it before looking for work, or a ring in between is missed.
func (b *Bell) Heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// Ring wakes all who wait.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}
