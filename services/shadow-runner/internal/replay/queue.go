package replay

import (
	"container/heap"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

// item is one request to be sent at one moment.
type item struct {
	due   time.Time
	order uint64 // requests of equal moments leave as they came
	req   *captured.Request
	extra bool // a copy beyond the first
}

// queue is a heap by due moment.
type queue []item

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].order < q[j].order
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(item)) }

func (q *queue) Pop() any {
	old := *q
	last := len(old) - 1
	x := old[last]
	old[last] = item{}
	*q = old[:last]
	return x
}

func (q *queue) add(i item) { heap.Push(q, i) }

func (q *queue) take() item { return heap.Pop(q).(item) }
