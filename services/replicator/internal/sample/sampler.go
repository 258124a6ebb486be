package sample

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// headroom of a cap is left for traffic that grows within a second.
	headroom = 0.9
	// recovery bounds how fast rates rise again below a cap, per second: sessions should not go in and out.
	recovery = 1.1
	// slack is the share of the target below which rates may be too high. worthwhile is the share of the cost that new rates
	// may have to be taken while the old ones reach the target: each change lets sessions in or out half way.
	slack      = 0.7
	worthwhile = 0.8
)

// Sampler decides about requests and keeps account of how well the sample shows them. It is safe for concurrent use: Choose
// takes no lock, See and Admit one for a moment, for the account is kept by Tick, and the settings may be replaced at any time.
type Sampler struct {
	plan   atomic.Pointer[plan]
	figure atomic.Pointer[Figure]

	mu       sync.Mutex
	settings workload.Sampling
	pending  pending
	ticked   time.Time
	rotated  time.Time
	wanted   wanted
	bucket   bucket

	// tracking guards the tracker, and is held for milliseconds.
	tracking sync.Mutex
	tracker  *tracker
}

// plan is the rates that hold; it is never changed.
type plan struct {
	// rates by stratum where the configured ones do not hold; nil without a target.
	rates map[traffic.Stratum]float64
	// scale of all rates, in (0, 1].
	scale float64
}

// wanted is what would be copied without a cap, since the last tick.
type wanted struct{ requests, bytes float64 }

// New returns a sampler that begins at now.
func New(settings workload.Sampling, now time.Time) *Sampler {
	s := &Sampler{ticked: now, rotated: now, tracker: newTracker(1)}
	s.plan.Store(&plan{scale: 1})
	s.Configure(settings)
	return s
}

// Configure replaces the settings. What was learnt stays, but for rates that no target asks for any more.
func (s *Sampler) Configure(settings workload.Sampling) {
	s.remember(max(1, int(settings.Span/max(settings.Interval, time.Second))))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = settings
	s.bucket.configure(settings)
	if now := s.plan.Load(); settings.TargetError == 0 && now.rates != nil {
		s.plan.Store(&plan{scale: now.scale})
	}
}

func (s *Sampler) remember(panes int) {
	s.tracking.Lock()
	defer s.tracking.Unlock()
	s.tracker.keep = panes
}

// Fate is what was decided about a request.
type Fate int

// Fates.
const (
	// Out: the session is not in the sample.
	Out Fate = iota
	// Shed: it is, but a budget leaves no room for it.
	Shed
	// In: it is to be copied.
	In
)

// Choose decides about a request of a session whose stratum is configured to be copied at the rate base. share is the part of
// the sample that a budget leaves, in [0, 1]. rate is the probability with which the request is copied, the inverse of which
// is its weight.
func (s *Sampler) Choose(d traffic.Draw, st traffic.Stratum, base, share float64) (rate float64, fate Fate) {
	full := s.plan.Load().rate(st, base)
	if !d.In(full) {
		return 0, Out
	}
	// Samples are nested, so that a budget keeps whole sessions, and the same ones as long as it lasts.
	if rate = full * share; !d.In(rate) {
		return 0, Shed
	}
	return rate, In
}

func (p *plan) rate(st traffic.Stratum, base float64) float64 { return p.wish(st, base) * p.scale }

// wish is the rate without caps. A stratum without a rate of its own is new, and begins as configured; a rate of 0 is a
// decision of the user's.
func (p *plan) wish(st traffic.Stratum, base float64) float64 {
	if rate, planned := p.rates[st]; planned && base > 0 {
		return rate
	}
	return base
}

// See counts a request that might have been copied, whether or not it was.
func (s *Sampler) See(seen Seen) {
	wish := s.plan.Load().wish(seen.Stratum, seen.Base)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.add(seen)
	s.wanted.requests += wish
	s.wanted.bytes += wish * float64(max(seen.Bytes, 0))
}

// Admit reports whether the caps leave room for one more copy of the given size at this moment.
func (s *Sampler) Admit(now time.Time, bytes int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bucket.take(now, float64(max(bytes, 0)))
}

// Tick is to be called about once a second. It follows the caps, and after each Interval computes the figure of the last
// Span and allocates the rates anew where there is a target. share is what Choose is given at this time.
func (s *Sampler) Tick(now time.Time, share float64) {
	s.mu.Lock()
	elapsed := now.Sub(s.ticked)
	if elapsed < time.Second/2 {
		s.mu.Unlock()
		return
	}
	s.ticked = now
	s.follow(elapsed.Seconds())
	due := now.Sub(s.rotated) >= s.settings.Interval
	if due {
		s.rotated = now
	}
	settings, seen := s.settings, s.pending.take()
	s.mu.Unlock()
	// The rest takes many milliseconds, and requests need not wait for it.
	panes := s.track(seen, due)
	s.reuse(seen)
	if due {
		p, strata, base := span(panes)
		s.review(settings, p, strata, base, share)
	}
}

func (s *Sampler) reuse(blocks [][]Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.reuse(blocks)
}

// track takes what was seen into the account; at the end of a pane it returns those of the span.
func (s *Sampler) track(seen [][]Seen, seal bool) []*pane {
	s.tracking.Lock()
	defer s.tracking.Unlock()
	for _, block := range seen {
		for _, one := range block {
			s.tracker.see(one)
		}
	}
	if !seal {
		return nil
	}
	return s.tracker.seal()
}

// follow sets the scale by what was wanted in the last seconds.
func (s *Sampler) follow(seconds float64) {
	scale := 1.0
	if limit := s.settings.MaxRequests; limit > 0 && s.wanted.requests > 0 {
		scale = min(scale, headroom*limit*seconds/s.wanted.requests)
	}
	if limit := s.settings.MaxBytes; limit > 0 && s.wanted.bytes > 0 {
		scale = min(scale, headroom*limit*seconds/s.wanted.bytes)
	}
	s.wanted = wanted{}
	before := s.plan.Load()
	if scale = min(scale, before.scale*recovery); scale != before.scale {
		s.plan.Store(&plan{rates: before.rates, scale: scale})
	}
}

func (s *Sampler) review(settings workload.Sampling, p *population, strata []traffic.Stratum, base []float64, share float64) {
	now := s.plan.Load()
	rates := make([]float64, len(strata))
	current := func() {
		holds := s.plan.Load()
		for h, st := range strata {
			rates[h] = max(leastRate, holds.rate(st, base[h])*share)
		}
	}
	current()
	f := p.figure(rates, figureReplicates)
	if target := settings.TargetError; target > 0 && p.all.total > 0 && (now.rates == nil || !f.within(target) || f.within(slack*target)) {
		best := p.allocate(goal{target: target, minimum: float64(settings.Minimum)})
		if now.rates == nil || !f.within(target) || p.cost(best) < worthwhile*p.cost(rates) {
			s.take(strata, best)
			current()
			f = p.figure(rates, figureReplicates)
		}
	}
	f.Span = settings.Span
	s.figure.Store(&f)
}

// take makes rates those that hold, at the scale of the caps.
func (s *Sampler) take(strata []traffic.Stratum, rates []float64) {
	planned := make(map[traffic.Stratum]float64, len(strata))
	for h, st := range strata {
		planned[st] = rates[h]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings.TargetError > 0 {
		s.plan.Store(&plan{rates: planned, scale: s.plan.Load().scale})
	}
}

// Figure is the newest figure; false until the first Interval has passed.
func (s *Sampler) Figure() (Figure, bool) {
	f := s.figure.Load()
	if f == nil {
		return Figure{}, false
	}
	return *f, true
}
