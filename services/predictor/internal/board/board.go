// Package board holds the newest recommendation of each workload and wakes those who wait for a newer one.
package board

import (
	"context"
	"slices"
	"sync"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Board is safe for concurrent use. Recommendations on it are never changed.
type Board struct {
	mu      sync.Mutex
	newest  map[string]*foreshadowv1.Recommendation
	changed chan struct{}
}

// New returns an empty board.
func New() *Board {
	return &Board{newest: map[string]*foreshadowv1.Recommendation{}, changed: make(chan struct{})}
}

// Post puts up a recommendation unless a newer generation is there already.
func (b *Board) Post(r *foreshadowv1.Recommendation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Generation <= b.newest[r.Workload].GetGeneration() {
		return
	}
	b.newest[r.Workload] = r
	close(b.changed)
	b.changed = make(chan struct{})
}

// Get returns the newest recommendation of a workload, nil when there is none yet.
func (b *Board) Get(workload string) *foreshadowv1.Recommendation {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest[workload]
}

// Next waits for a recommendation with a higher generation and returns the newest; it returns ctx's error when ctx ends.
func (b *Board) Next(ctx context.Context, workload string, after uint64) (*foreshadowv1.Recommendation, error) {
	for {
		b.mu.Lock()
		r, changed := b.newest[workload], b.changed
		b.mu.Unlock()
		if r.GetGeneration() > after {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// All returns the newest recommendation of every workload, ordered by name.
func (b *Board) All() []*foreshadowv1.Recommendation {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*foreshadowv1.Recommendation, 0, len(b.newest))
	for _, r := range b.newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(x, y *foreshadowv1.Recommendation) int {
		if x.Workload < y.Workload {
			return -1
		}
		return 1
	})
	return out
}
