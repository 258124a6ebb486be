package tap

import "sync/atomic"

// room bounds what is kept at once. It is safe for concurrent use.
type room struct {
	most int64
	held atomic.Int64
}

// take reserves n bytes; false when there is no room for them.
func (r *room) take(n int64) bool {
	if r.held.Add(n) > r.most {
		r.held.Add(-n)
		return false
	}
	return true
}

func (r *room) give(n int64) { r.held.Add(-n) }
