// Package board holds the newest recommendation of each workload and wakes those who wait for a newer one.
package board

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// ErrClosed says that nothing more will be posted.
var ErrClosed = errors.New("no more recommendations are made here")

// Board is safe for concurrent use. Recommendations on it are never changed.
type Board struct {
	mu     sync.Mutex
	slots  map[string]*slot
	closed chan struct{}
}

// slot is the place of one workload; a post wakes only those who wait for it.
type slot struct {
	newest  *foreshadowv1.Recommendation
	changed chan struct{}
}

// New returns an empty board.
func New() *Board { return &Board{slots: map[string]*slot{}, closed: make(chan struct{})} }

// at returns the slot of a workload; the caller holds mu.
func (b *Board) at(workload string) *slot {
	s := b.slots[workload]
	if s == nil {
		s = &slot{changed: make(chan struct{})}
		b.slots[workload] = s
	}
	return s
}

// Post puts up a recommendation unless a newer generation is there already.
func (b *Board) Post(r *foreshadowv1.Recommendation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(r.GetWorkload())
	if r.GetGeneration() <= s.newest.GetGeneration() {
		return
	}
	s.newest = r
	close(s.changed)
	s.changed = make(chan struct{})
}

// Get returns the newest recommendation of a workload, nil when there is none yet.
func (b *Board) Get(workload string) *foreshadowv1.Recommendation {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.slots[workload]; s != nil {
		return s.newest
	}
	return nil
}

// Next waits for a recommendation with a higher generation and returns the newest. It returns ctx's error when ctx ends and
// ErrClosed when the board is closed.
func (b *Board) Next(ctx context.Context, workload string, after uint64) (*foreshadowv1.Recommendation, error) {
	for {
		b.mu.Lock()
		s := b.at(workload)
		r, changed := s.newest, s.changed
		b.mu.Unlock()
		if r.GetGeneration() > after {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.closed:
			return nil, ErrClosed
		case <-changed:
		}
	}
}

// All returns the newest recommendation of every workload, ordered by name.
func (b *Board) All() []*foreshadowv1.Recommendation {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*foreshadowv1.Recommendation, 0, len(b.slots))
	for _, s := range b.slots {
		if s.newest != nil {
			out = append(out, s.newest)
		}
	}
	slices.SortFunc(out, func(x, y *foreshadowv1.Recommendation) int { return strings.Compare(x.GetWorkload(), y.GetWorkload()) })
	return out
}

// Closed is closed when nothing more will be posted.
func (b *Board) Closed() <-chan struct{} { return b.closed }

// Close ends every wait, so that streams held open do not delay a stop. It is called once.
func (b *Board) Close() { close(b.closed) }
