// Package fleet knows the instances of one workload: those of its shadow, which may be used, and those of production, which
// must not be. Nothing is usable before both are known, nor while the platform has been silent for too long, nor when an
// address is found on both sides.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
)

// Watcher is the part of a platform that is needed here. Watch calls fn with the present state and with every newer one,
// and with an error when the platform cannot be asked, one call at a time, until ctx ends. It goes on asking by itself.
type Watcher interface {
	Watch(ctx context.Context, group string, fn func(platform.State, error))
}

// Status reports whether a part of the process can do its work.
type Status interface {
	NotReady(part, reason string)
	Ready(part string)
}

// staleAfter is how long the last known state is used when the platform is away. Later an address may have been given
// to an instance of production.
const staleAfter = 10 * time.Second

// Reasons why nothing can be sent.
const (
	Asleep     = "asleep"     // the shadow has no ready instance
	Probing    = "probing"    // every ready instance is being measured
	Unverified = "unverified" // it is not known, or not so, that shadow and production are apart
)

// Fleet is safe for concurrent use. Nothing waits for a name server but Admit: names are resolved with no lock held, and until
// the answer is there an instance of the shadow is left out, and one of production keeps everything from being used.
type Fleet struct {
	workload workload.Workload
	watcher  Watcher
	guard    *egress.Guard
	status   Status
	log      *slog.Logger
	now      func() time.Time
	lookup   lookup
	reported chan struct{} // capacity 1: names are to be resolved

	mu         sync.Mutex
	names      names
	shadow     side
	production side
	fault      string // why the fleet may not be used
	ready      []platform.Instance
	leased     map[string]departure         // of each that is leased
	flights    map[string]int               // requests that were sent to each and have not ended
	landed     *sync.Cond                   // an instance has no flights any more
	guests     map[string]platform.Instance // of trials, which may be reached and are never picked
	next       int
}

// departure is since when an instance is not ready, and whether it was told to end, by a roll-out or an eviction for example; zero while
// it is ready.
type departure struct {
	at   time.Time
	told bool
}

// side is what is known of one group.
type side struct {
	state platform.State
	known bool
	lost  time.Time // when the platform went away; zero while it is there
}

// New returns a fleet that knows nothing yet; its guard refuses everything.
func New(w workload.Workload, watcher Watcher, guard *egress.Guard, status Status, log *slog.Logger, now func() time.Time) *Fleet {
	f := &Fleet{
		workload: w, watcher: watcher, guard: guard, status: status, log: log, now: now, lookup: systemLookup, reported: make(chan struct{}, 1),
		names: names{}, leased: map[string]departure{}, flights: map[string]int{}, guests: map[string]platform.Instance{},
	}
	f.landed = sync.NewCond(&f.mu)
	return f
}

// Run watches both groups until ctx ends; it returns nil then.
func (f *Fleet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { f.watch(ctx, f.workload.Shadow.Group, &f.shadow); return nil })
	g.Go(func() error { f.watch(ctx, f.workload.Production.Group, &f.production); return nil })
	g.Go(func() error { f.resolve(ctx); return nil })
	return g.Wait()
}

func (f *Fleet) watch(ctx context.Context, group string, s *side) {
	part := "platform/" + group
	f.status.NotReady(part, "the instances of "+group+" are not known yet")
	f.watcher.Watch(ctx, group, func(st platform.State, err error) {
		if err != nil {
			f.lose(s, group, part, err)
			return
		}
		f.status.Ready(part)
		f.update(s, st)
	})
}

func (f *Fleet) lose(s *side, group, part string, err error) {
	f.mu.Lock()
	first := s.lost.IsZero()
	if first {
		s.lost = f.now()
	}
	f.mu.Unlock()
	f.status.NotReady(part, err.Error())
	if first {
		f.log.Warn("platform is away", "group", group, "err", err)
	}
}

func (f *Fleet) update(s *side, st platform.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !s.lost.IsZero() {
		f.log.Info("platform is back", "group", st.Group)
	}
	*s = side{state: st, known: true}
	f.settle()
	select {
	case f.reported <- struct{}{}:
	default:
	}
}

// settle works out what may be used by what is known of names, and tells the guard. An instance that starts or drains counts
// as being there: it may hold its address. It is called with mu held.
func (f *Fleet) settle() {
	part := "isolation/" + f.workload.Name
	before := f.fault
	found, fault := f.addresses()
	f.fault, f.ready = fault, nil
	if fault != "" {
		f.guard.Allow(nil)
		f.guard.Deny(found.denied)
		f.status.NotReady(part, fault)
		if fault != before {
			f.log.Error("replay refused", "reason", fault)
		}
		return
	}
	f.guard.Deny(found.denied)
	f.guard.Allow(found.allowed)
	f.status.Ready(part)
	for _, i := range f.shadow.state.Instances {
		if i.Phase == platform.Ready && !found.unresolved[i.ID] {
			f.ready = append(f.ready, i)
		}
	}
	for id, left := range f.leased {
		switch there := f.serves(id); {
		case there:
			f.leased[id] = departure{}
		case left.at.IsZero():
			f.leased[id] = departure{f.now(), f.drains(id)}
		}
	}
}

// serves is called with mu held.
func (f *Fleet) serves(id string) bool {
	return slices.ContainsFunc(f.ready, func(i platform.Instance) bool { return i.ID == id })
}

// drains is called with mu held.
func (f *Fleet) drains(id string) bool {
	return slices.ContainsFunc(f.shadow.state.Instances, func(i platform.Instance) bool { return i.ID == id && i.Phase == platform.Draining })
}

// addresses are those of a fleet.
type addresses struct {
	allowed, denied []netip.AddrPort
	// unresolved are the instances of shadow and trials whose address is not known yet.
	unresolved map[string]bool
}

func (f *Fleet) addresses() (found addresses, fault string) {
	if !f.shadow.known || !f.production.known {
		return found, "the instances of shadow and production are not both known yet"
	}
	owner := map[netip.AddrPort]platform.Instance{}
	for _, i := range f.production.state.Instances {
		addrs, err := f.resolved(i)
		if err != nil {
			return addresses{}, "production instance " + i.ID + ": " + err.Error()
		}
		for _, a := range addrs {
			owner[egress.Canonical(a)] = i
			found.denied = append(found.denied, a)
		}
	}
	found.unresolved = map[string]bool{}
	for _, i := range slices.Concat(f.shadow.state.Instances, slices.Collect(maps.Values(f.guests))) {
		addrs, err := f.resolved(i)
		if errors.Is(err, errUnresolved) {
			found.unresolved[i.ID] = true
			continue
		}
		if err != nil {
			return found, "shadow instance " + i.ID + ": " + err.Error()
		}
		for _, a := range addrs {
			if p, is := owner[egress.Canonical(a)]; is {
				return found, fmt.Sprintf("shadow instance %s and production instance %s share the address %s: replay would reach production",
					i.ID, p.ID, i.Address)
			}
		}
		found.allowed = append(found.allowed, addrs...)
	}
	for _, h := range f.workload.Replay.AllowHosts {
		addrs, err := egress.Resolve(h, f.names.of)
		if err != nil && !errors.Is(err, errUnresolved) {
			return found, "replay.allow_hosts: " + err.Error()
		}
		found.allowed = append(found.allowed, addrs...)
	}
	return found, ""
}

// resolved skips an instance that has no address yet.
func (f *Fleet) resolved(i platform.Instance) ([]netip.AddrPort, error) {
	if i.Address == "" {
		return nil, nil
	}
	return egress.Resolve(i.Address, f.names.of)
}

func (f *Fleet) unusable() bool {
	now := f.now()
	for _, s := range []side{f.shadow, f.production} {
		if !s.known || !s.lost.IsZero() && now.Sub(s.lost) > staleAfter {
			return true
		}
	}
	return f.fault != ""
}

// Admit lets instances of a trial be reached until release is called. They are held apart from production like the shadow's
// own: when they are not apart, nothing at all may be reached until they are released, and the error says why.
func (f *Fleet) Admit(ctx context.Context, instances []platform.Instance) (release func(), err error) {
	f.host(instances)
	resolved := f.lookUp(ctx, slices.Collect(maps.Keys(hostsOf(instances))))
	f.mu.Lock()
	defer f.mu.Unlock()
	release = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, i := range instances {
			delete(f.guests, i.ID)
		}
		f.settle()
	}
	if f.unusable() || !resolved {
		return release, fmt.Errorf("admit a trial: %s", cmp.Or(f.fault, "it is not known that shadow and production are apart"))
	}
	return release, nil
}

// host makes instances guests.
func (f *Fleet) host(instances []platform.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range instances {
		f.guests[i.ID] = i
	}
	f.settle()
}

// Ready returns the ready instances of the shadow, oldest first; none while the fleet may not be used.
func (f *Fleet) Ready() []platform.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unusable() {
		return nil
	}
	return f.ready
}

// IsReady reports whether the instance is still there and ready.
func (f *Fleet) IsReady(id string) bool {
	for _, i := range f.Ready() {
		if i.ID == id {
			return true
		}
	}
	return false
}

// ProductionReady is the number of production's ready instances.
func (f *Fleet) ProductionReady() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.production.state.Ready()
}
