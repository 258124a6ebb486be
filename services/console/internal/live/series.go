package live

import (
	"cmp"
	"slices"
)

// series keeps the newest stretch of windows of both environments, ordered by environment and start.
type series[P interface{ key() windowKey }] struct {
	retention float64 // seconds
	newest    float64
	points    []P
}

// put reports whether the point is news: neither older than the retention nor an old revision.
func (s *series[P]) put(p P) bool {
	k := p.key()
	if k.Start < s.newest-s.retention {
		return false
	}
	at, found := slices.BinarySearchFunc(s.points, k, func(q P, k windowKey) int { return comparePlace(q.key(), k) })
	switch {
	case !found:
		s.points = slices.Insert(s.points, at, p)
	case s.points[at].key().Revision >= k.Revision:
		return false
	default:
		s.points[at] = p
	}
	if k.Start > s.newest {
		s.newest = k.Start
		s.points = slices.DeleteFunc(s.points, func(q P) bool { return q.key().Start < s.newest-s.retention })
	}
	return true
}

func comparePlace(a, b windowKey) int {
	return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Start, b.Start))
}
