package shadowrunner

import (
	"context"
	"sync"
)

// seat is the right to drive the shadows of an installation, which one runner has at a time: the member of the consumer group that
// all of traffic.captured is assigned to. It is safe for concurrent use.
//
// The seat goes with the traffic, and not with a lock beside it, because neither is of use without the other. Who measures an
// instance takes it out of its own replay only: whatever a second runner replayed there would be taken for the instance's weakness.
// And who has some of the partitions knows some of the sessions, so part of production's rate and, when there are few, nothing.
type seat struct {
	mu    sync.Mutex
	term  *term // the present one, or the next
	known bool  // whether it was ever said whose it is
}

// term is the time from when the seat is taken until it is lost.
type term struct{ taken, over chan struct{} }

func newTerm() *term { return &term{taken: make(chan struct{}), over: make(chan struct{})} }

func newSeat() *seat { return &seat{term: newTerm()} }

// set notes whether the seat is this runner's, which it may be already, and reports whether it was otherwise before.
func (s *seat) set(mine bool) (moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
	if mine == closed(s.term.taken) {
		return false
	}
	if mine {
		close(s.term.taken)
		return true
	}
	close(s.term.over)
	s.term = newTerm()
	return true
}

// look reports whether the seat is this runner's, and whether that is known yet.
func (s *seat) look() (mine, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return closed(s.term.taken), s.known
}

// during works in each term, under a context that ends with it, until ctx ends. Work that returns before is not called again in
// the same term.
func (s *seat) during(ctx context.Context, work func(ctx context.Context)) {
	for {
		s.mu.Lock()
		t := s.term
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-t.taken:
		}
		t.work(ctx, work)
		select {
		case <-ctx.Done():
			return
		case <-t.over:
		}
	}
}

func (t *term) work(ctx context.Context, work func(ctx context.Context)) {
	ctx, end := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-t.over:
			end()
		case <-ctx.Done():
		}
	})
	work(ctx)
	end()
	watch.Wait()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
