package hpa

import (
	"math"
	"time"
)

// PolicyType says what a rate policy counts.
type PolicyType uint8

// The policy types.
const (
	Pods    PolicyType = iota // a number of pods
	Percent                   // a percentage of the replicas at the period's start
)

// Select says which of several rate policies rules.
type Select uint8

// The selections.
const (
	SelectMax      Select = iota // the policy allowing the largest change
	SelectMin                    // the policy allowing the smallest change
	SelectDisabled               // no change in this direction
)

// Policy bounds the change within a period.
type Policy struct {
	Type   PolicyType
	Value  int
	Period time.Duration
}

// Direction is the behaviour of scaling up or of scaling down.
type Direction struct {
	Stabilization time.Duration // the window whose most cautious wish rules
	Select        Select
	Policies      []Policy
}

// Behavior is an HPA's behavior section with every default filled in.
type Behavior struct {
	Up, Down Direction
}

// DefaultBehavior returns what the API server fills in when a behavior section is given but empty.
func DefaultBehavior() Behavior {
	return Behavior{
		Up: Direction{Policies: []Policy{{Pods, 4, 15 * time.Second}, {Percent, 100, 15 * time.Second}}},
		Down: Direction{
			Stabilization: 300 * time.Second,
			Policies:      []Policy{{Percent, 100, 15 * time.Second}},
		},
	}
}

// Faster returns the behaviour with every time divided by a factor, for a world whose time is compressed by it.
func (b Behavior) Faster(factor float64) Behavior {
	return Behavior{Up: b.Up.faster(factor), Down: b.Down.faster(factor)}
}

func (d Direction) faster(factor float64) Direction {
	shorter := func(t time.Duration) time.Duration { return time.Duration(float64(t) / factor) }
	out := Direction{Stabilization: shorter(d.Stabilization), Select: d.Select}
	for _, p := range d.Policies {
		p.Period = shorter(p.Period)
		out.Policies = append(out.Policies, p)
	}
	return out
}

// Rules turn wishes into replicas.
type Rules struct {
	Min, Max int
	// Behavior nil takes the legacy path: LegacyStabilization downwards, and at most doubling (or 4) upwards.
	Behavior            *Behavior
	LegacyStabilization time.Duration
}

type wish struct {
	replicas int
	at       time.Time
}

type event struct {
	change int // replicas added or removed, positive
	at     time.Time
}

// History is what the controller remembers of one workload. The zero value is an empty memory. It is immutable:
// Normalize returns the next one.
type History struct {
	wishes []wish
	ups    []event
	downs  []event
}

// Normalize clamps, stabilises and rate-limits a wish, and remembers it and the resulting change. A memory exactly as
// old as its window has left it: the controller reads its clock anew for every comparison, so it is never exactly on time.
// Outside [Min, Max] the current replicas go straight to the bound, as in the controller, and nothing is remembered.
func (r Rules) Normalize(h History, current, desired int, now time.Time) (int, History) {
	if current > r.Max {
		return r.Max, h
	}
	if current < r.Min {
		return r.Min, h
	}
	if len(h.wishes) == 0 {
		// The controller starts a memory with the replicas it finds, so a restart does not scale down at once.
		h.wishes = []wish{{current, now}}
	}
	if r.Behavior == nil {
		return r.legacy(h, current, desired, now)
	}
	stable, h := r.stabilize(h, current, desired, now)
	out := r.limit(h, current, stable, now)
	return out, r.remember(h, current, out, now)
}

func (r Rules) legacy(h History, current, desired int, now time.Time) (int, History) {
	stable, next := desired, h
	cutoff := now.Add(-r.LegacyStabilization)
	old := -1
	for i, w := range h.wishes {
		if !w.at.After(cutoff) {
			old = i
		} else {
			stable = max(stable, w.replicas)
		}
	}
	next.wishes = put(h.wishes, old, wish{desired, now})
	ceiling := min(r.Max, max(2*current, 4))
	return min(max(stable, r.Min), ceiling), next
}

func (r Rules) stabilize(h History, current, desired int, now time.Time) (int, History) {
	upCutoff := now.Add(-r.Behavior.Up.Stabilization)
	downCutoff := now.Add(-r.Behavior.Down.Stabilization)
	up, down, old := desired, desired, -1
	for i, w := range h.wishes {
		if w.at.After(upCutoff) {
			up = min(up, w.replicas)
		}
		if w.at.After(downCutoff) {
			down = max(down, w.replicas)
		}
		if !w.at.After(upCutoff) && !w.at.After(downCutoff) {
			old = i
		}
	}
	next := h
	next.wishes = put(h.wishes, old, wish{desired, now})
	return min(max(current, up), down), next
}

func (r Rules) limit(h History, current, desired int, now time.Time) int {
	switch {
	case desired > current:
		ceiling := max(upLimit(h, r.Behavior.Up, current, now), current)
		return min(desired, r.Max, ceiling)
	case desired < current:
		floor := min(downLimit(h, r.Behavior.Down, current, now), current)
		return max(desired, r.Min, floor)
	}
	return desired
}

func upLimit(h History, d Direction, current int, now time.Time) int {
	if d.Select == SelectDisabled {
		return current
	}
	limit := 0
	for i, p := range d.Policies {
		start := periodStart(h, p, current, now)
		allowed := start + p.Value
		if p.Type == Percent {
			allowed = int(math.Ceil(float64(start) * (1 + float64(p.Value)/100)))
		}
		limit = pick(i == 0, (d.Select == SelectMax) == (allowed > limit), limit, allowed)
	}
	return limit
}

func downLimit(h History, d Direction, current int, now time.Time) int {
	if d.Select == SelectDisabled {
		return current
	}
	limit := 0
	for i, p := range d.Policies {
		start := periodStart(h, p, current, now)
		allowed := start - p.Value
		if p.Type == Percent {
			allowed = int(float64(start) * (1 - float64(p.Value)/100))
		}
		limit = pick(i == 0, (d.Select == SelectMax) == (allowed < limit), limit, allowed)
	}
	return limit
}

func pick(first, better bool, limit, allowed int) int {
	if first || better {
		return allowed
	}
	return limit
}

// periodStart returns the replicas when the policy's period began, as far as the remembered events tell.
func periodStart(h History, p Policy, current int, now time.Time) int {
	cutoff := now.Add(-p.Period)
	start := current
	for _, e := range h.ups {
		if e.at.After(cutoff) {
			start -= e.change
		}
	}
	for _, e := range h.downs {
		if e.at.After(cutoff) {
			start += e.change
		}
	}
	return start
}

func (r Rules) remember(h History, current, next int, now time.Time) History {
	switch {
	case next > current:
		h.ups = record(h.ups, r.Behavior.Up, event{change: next - current, at: now})
	case next < current:
		h.downs = record(h.downs, r.Behavior.Down, event{change: current - next, at: now})
	}
	return h
}

// record overwrites the last event older than the longest period of its own direction, even where the other
// direction's longer policies would still need it: the controller does so, and the vectors contain it.
func record(events []event, d Direction, e event) []event {
	var longest time.Duration
	for _, p := range d.Policies {
		longest = max(longest, p.Period)
	}
	cutoff := e.at.Add(-longest)
	old := -1
	for i := range events {
		if !events[i].at.After(cutoff) {
			old = i
		}
	}
	return put(events, old, e)
}

// put returns a copy of s with e at index i, or appended when i is negative.
func put[T any](s []T, i int, e T) []T {
	out := make([]T, len(s), len(s)+1)
	copy(out, s)
	if i >= 0 {
		out[i] = e
		return out
	}
	return append(out, e)
}
