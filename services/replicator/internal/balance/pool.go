// Package balance chooses the instance for a request: the ready one with the fewest requests in flight. It follows what the
// platform reports, and keeps to the last report while the platform is away. Instances that drain keep what they have and
// get nothing new; one that refuses connections is set aside for a moment.
package balance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// ErrNoInstance: no instance was ready within the time a request may wait, or too many requests wait already.
var ErrNoInstance = errors.New("no instance is ready")

// Config bounds dialling and waiting.
type Config struct {
	// ConnectTimeout of one attempt.
	ConnectTimeout time.Duration
	// SetAside is how long an instance that refused a connection gets no requests.
	SetAside time.Duration
	// MaxWaiting bounds the requests that wait for an instance at once.
	MaxWaiting int
}

// Pool is safe for concurrent use.
type Pool struct {
	cfg Config

	mu      sync.Mutex
	ready   []*Instance
	next    int // where the search begins, so that ties rotate
	waiting int
	changed chan struct{}

	closing sync.Mutex // taken before mu
}

// NewPool returns a pool without instances.
func NewPool(cfg Config) *Pool { return &Pool{cfg: cfg, changed: make(chan struct{})} }

// Update takes over what the platform reports and returns the number of instances that are ready.
func (p *Pool) Update(state platform.State) int {
	ready, gone := p.update(state)
	for _, i := range gone {
		i.closeIdle()
	}
	return ready
}

// update returns the number of instances that are ready, and those that are no more.
func (p *Pool) update(state platform.State) (ready int, gone []*Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := map[[2]string]*Instance{}
	for _, i := range p.ready {
		before[[2]string{i.ID, i.Address}] = i
	}
	p.ready = nil
	for _, reported := range state.Instances {
		if reported.Phase != platform.Ready {
			continue
		}
		key := [2]string{reported.ID, reported.Address}
		i := before[key]
		if i == nil {
			i = newInstance(reported, p.cfg.ConnectTimeout)
		}
		delete(before, key)
		p.ready = append(p.ready, i)
	}
	for _, i := range before {
		i.retired = true
		gone = append(gone, i)
	}
	p.wake()
	return len(p.ready), gone
}

// Close lets go of all instances; requests in flight go on.
func (p *Pool) Close() { p.Update(platform.State{}) }

// Acquire returns the ready instance with the fewest requests in flight, and counts one more; Release must follow. When
// there is none it waits until the deadline.
func (p *Pool) Acquire(ctx context.Context, deadline time.Time) (*Instance, error) {
	waits := false
	defer func() {
		if waits {
			p.mu.Lock()
			p.waiting--
			p.mu.Unlock()
		}
	}()
	for {
		p.mu.Lock()
		now := time.Now()
		i, again := p.choose(now)
		if i != nil {
			i.inFlight++
			p.mu.Unlock()
			return i, nil
		}
		if !now.Before(deadline) || !waits && p.waiting >= p.cfg.MaxWaiting {
			p.mu.Unlock()
			return nil, ErrNoInstance
		}
		if !waits {
			waits = true
			p.waiting++
		}
		changed := p.changed
		p.mu.Unlock()
		if again.IsZero() || again.After(deadline) {
			again = deadline
		}
		if err := wait(ctx, changed, again.Sub(now)); err != nil {
			return nil, err
		}
	}
}

// TryAcquire is Acquire without waiting; nil when no instance is ready.
func (p *Pool) TryAcquire(now time.Time) *Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := p.choose(now)
	if i != nil {
		i.inFlight++
	}
	return i
}

// wait returns when there is reason to look again.
func wait(ctx context.Context, changed <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// choose returns an instance, or when the next one that was set aside comes back.
func (p *Pool) choose(now time.Time) (best *Instance, again time.Time) {
	n := len(p.ready)
	for k := range n {
		i := p.ready[(p.next+k)%n]
		if i.asideUntil.After(now) {
			if again.IsZero() || i.asideUntil.Before(again) {
				again = i.asideUntil
			}
			continue
		}
		if best == nil || i.inFlight < best.inFlight {
			best = i
		}
	}
	if n > 0 {
		p.next = (p.next + 1) % n
	}
	return best, again
}

// Release ends what Acquire began.
func (p *Pool) Release(i *Instance) {
	if p.release(i) {
		i.closeIdle()
	}
}

// release reports whether it was the last request of an instance that is gone.
func (p *Pool) release(i *Instance) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i.inFlight--
	return i.retired && i.inFlight == 0
}

// CloseIdle closes every connection that nothing is asked on. They are closed when it returns, whoever called it first.
func (p *Pool) CloseIdle() {
	p.closing.Lock()
	defer p.closing.Unlock()
	p.mu.Lock()
	ready := p.ready // replaced, never changed
	p.mu.Unlock()
	for _, i := range ready {
		i.closeIdle()
	}
}

// SetAside keeps requests from an instance for a moment.
func (p *Pool) SetAside(i *Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i.asideUntil = time.Now().Add(p.cfg.SetAside)
}

// wake tells those who wait to look again.
func (p *Pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}
