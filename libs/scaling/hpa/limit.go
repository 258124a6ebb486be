package hpa

import "time"

// Change is one that was made: the replicas it added, negative when it removed.
type Change struct {
	Replicas int
	At       time.Time
}

// Limit bounds one wish by the rate policies, given every change that was made within their periods. It is Normalize without
// stabilisation and without a memory of its own, for a caller that keeps one. A direction without policies is not bounded.
func (b Behavior) Limit(current, desired int, changes []Change, now time.Time) int {
	var h History
	for _, c := range changes {
		switch {
		case c.Replicas > 0:
			h.ups = append(h.ups, event{change: c.Replicas, at: c.At})
		case c.Replicas < 0:
			h.downs = append(h.downs, event{change: -c.Replicas, at: c.At})
		}
	}
	switch {
	case desired > current && (len(b.Up.Policies) > 0 || b.Up.Select == SelectDisabled):
		return min(desired, max(upLimit(h, b.Up, current, now), current))
	case desired < current && (len(b.Down.Policies) > 0 || b.Down.Select == SelectDisabled):
		return max(desired, min(downLimit(h, b.Down, current, now), current))
	}
	return desired
}
