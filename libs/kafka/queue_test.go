package kafka

import (
	"testing"

	"pgregory.net/rapid"
)

// TestQueueAlwaysBalances drives the queue with arbitrary steps: the ledger balances after each, the bound holds,
// and sequences leave in order without a gap.
func TestQueueAlwaysBalances(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(recordOverhead, 20*recordOverhead).Draw(t, "limit")
		q := newQueue(limit)
		var inFlight []*outgoing
		next := uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) {
				value := make([]byte, rapid.IntRange(0, 3*recordOverhead).Draw(t, "size"))
				before, bytes := q.snapshot()
				o := newOutgoing(RawMessage{Value: value})
				fits := bytes+o.size() <= limit && !q.closed
				if got := q.offer(o); got != fits {
					t.Fatalf("offer = %v with %d of %d bytes used", got, bytes, limit)
				}
				if after, _ := q.snapshot(); after.Offered != before.Offered+1 {
					t.Fatalf("offered %d, was %d", after.Offered, before.Offered)
				}
			},
			"take": func(t *rapid.T) {
				if inFlight != nil {
					t.Skip("one chunk in flight")
				}
				waiting := q.waiting()
				inFlight = q.take(rapid.IntRange(1, 5).Draw(t, "records"), rapid.IntRange(1, 5*recordOverhead).Draw(t, "bytes"))
				if waiting > 0 && len(inFlight) == 0 {
					t.Fatal("took nothing of a queue that is not empty")
				}
				for _, o := range inFlight {
					if o.meta.Sequence != next {
						t.Fatalf("sequence %d left after %d", o.meta.Sequence, next-1)
					}
					next++
				}
			},
			"settle": func(t *rapid.T) {
				for _, o := range inFlight {
					switch rapid.IntRange(0, 2).Draw(t, "fate") {
					case 0:
						o.done = true
					case 1:
						o.reject(ReasonRejected, errTest)
					}
				}
				q.settle(inFlight, ReasonShutdown)
				inFlight = nil
			},
			"drop":  func(*rapid.T) { q.drop(ReasonEncode) },
			"close": func(*rapid.T) { q.close(ReasonShutdown) },
			"": func(t *rapid.T) {
				l, bytes := q.snapshot()
				sum := l.Published + l.Pending
				for _, n := range l.Dropped {
					sum += n
				}
				if sum != l.Offered {
					t.Fatalf("ledger does not balance: %+v", l)
				}
				if bytes > limit || bytes < 0 || (l.Pending == 0) != (bytes == 0) {
					t.Fatalf("%d bytes held for %d messages, limit %d", bytes, l.Pending, limit)
				}
			},
		})
	})
}

type testError struct{}

func (testError) Error() string { return "test" }

var errTest = testError{}

func TestSliceLenKeepsBothBounds(t *testing.T) {
	t.Parallel()
	messages := func(n, size int) []*outgoing {
		out := make([]*outgoing, n)
		for i := range out {
			out[i] = newOutgoing(RawMessage{Value: make([]byte, size)})
		}
		return out
	}
	for name, tc := range map[string]struct {
		messages []*outgoing
		want     int
	}{
		"few and small":           {messages(3, 10), 3},
		"many":                    {messages(sliceRecords+1, 0)[:sliceRecords+1], min(sliceRecords, sliceBytes/recordOverhead)},
		"large":                   {messages(5, sliceBytes/2), 1},
		"one larger than a slice": {messages(2, 2*sliceBytes), 1},
	} {
		if got := sliceLen(tc.messages); got != tc.want {
			t.Errorf("%s: slice of %d messages, want %d", name, got, tc.want)
		}
	}
}
