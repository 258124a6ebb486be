package fleet

import (
	"context"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Pick returns the next ready instance in turn, and what to call once the request that it is for has ended; with none, the reason is
// one of the package's.
func (f *Fleet) Pick() (instance platform.Instance, done func(), reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unusable() {
		return platform.Instance{}, nil, Unverified
	}
	for range f.ready {
		f.next = (f.next + 1) % len(f.ready)
		id := f.ready[f.next].ID
		if _, busy := f.leased[id]; !busy {
			f.flights[id]++
			return f.ready[f.next], func() { f.land(id) }, ""
		}
	}
	if len(f.ready) > 0 {
		return platform.Instance{}, nil, Probing
	}
	return platform.Instance{}, nil, Asleep
}

func (f *Fleet) land(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flights[id]--; f.flights[id] == 0 {
		delete(f.flights, id)
		f.landed.Broadcast()
	}
}

// Lease takes the oldest ready instance out of Pick's turn until release is called, and waits until all requests that Pick sent there
// have ended: what they left waiting in it would be taken for its weakness. It returns false when there is none, when it went away
// meanwhile, and when ctx has ended.
func (f *Fleet) Lease(ctx context.Context) (instance platform.Instance, release func(), ok bool) {
	wake := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.landed.Broadcast()
	})
	defer wake()
	f.mu.Lock()
	defer f.mu.Unlock()
	instance, ok = f.take(func(platform.Instance) bool { return true })
	if !ok {
		return platform.Instance{}, nil, false
	}
	for f.flights[instance.ID] > 0 && ctx.Err() == nil {
		f.landed.Wait()
	}
	if ctx.Err() != nil || f.unusable() || !f.serves(instance.ID) {
		delete(f.leased, instance.ID)
		return platform.Instance{}, nil, false
	}
	return instance, f.releaser(instance.ID), true
}

// LeaseFresh is Lease of an instance that became ready at most so long ago. It does not wait, for then it would not be fresh.
func (f *Fleet) LeaseFresh(age time.Duration) (instance platform.Instance, release func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	instance, ok = f.take(func(i platform.Instance) bool { return !i.ReadyTime.IsZero() && f.now().Sub(i.ReadyTime) <= age })
	return instance, f.releaser(instance.ID), ok
}

// take is called with mu held.
func (f *Fleet) take(fits func(platform.Instance) bool) (instance platform.Instance, ok bool) {
	if f.unusable() {
		return platform.Instance{}, false
	}
	for _, i := range f.ready {
		if _, busy := f.leased[i.ID]; !busy && fits(i) {
			f.leased[i.ID] = departure{}
			return i, true
		}
	}
	return platform.Instance{}, false
}

func (f *Fleet) releaser(id string) func() {
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.leased, id)
	}
}

// Left reports whether a leased instance is not there or not ready, and since when; zero when it was told to end, which no load did,
// and while the fleet may not be used, when it is not known.
func (f *Fleet) Left(id string) (at time.Time, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unusable() {
		return time.Time{}, true
	}
	left := f.leased[id]
	if left.told {
		return time.Time{}, true
	}
	return left.at, !f.serves(id)
}
