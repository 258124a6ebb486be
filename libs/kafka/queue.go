package kafka

import (
	"context"
	"maps"
	"sync"
)

// Reasons for which a Publisher drops a message.
const (
	ReasonQueueFull = "queue_full" // the brokers are slower than the source, or away
	ReasonTooLarge  = "too_large"  // above MaxMessageBytes, or above what the broker takes
	ReasonEncode    = "encode"     // not a valid message
	ReasonRejected  = "rejected"   // the broker will never take it
	ReasonClosed    = "closed"     // offered after Run has ended
	ReasonShutdown  = "shutdown"   // not acknowledged within DrainTimeout; it may have arrived all the same
)

// Ledger accounts for every message offered: Offered = Published + sum(Dropped) + Pending, at any moment.
type Ledger struct {
	Offered   uint64
	Published uint64
	Dropped   map[string]uint64
	// Pending are queued or in flight.
	Pending uint64
}

// queue is the bounded buffer between Publish and Run, and the ledger. All of it moves under one lock, so the
// ledger balances whenever it is read.
type queue struct {
	limit int

	mu       sync.Mutex
	items    []*outgoing
	bytes    int // of items and of the chunk in flight
	sequence uint64
	ledger   Ledger
	closed   bool
	accepted uint64 // messages ever queued
	settled  uint64 // of those, published or dropped, in order of acceptance
	changed  chan struct{}

	wake chan struct{} // capacity 1: there is something to take
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, changed: make(chan struct{}), wake: make(chan struct{}, 1),
		ledger: Ledger{Dropped: map[string]uint64{}}}
}

// offer queues o with the next sequence. When the queue is full the newest is dropped: what is queued has waited
// longest and a slice in flight cannot be taken back.
func (q *queue) offer(o *outgoing) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger.Offered++
	switch {
	case q.closed:
		q.ledger.Dropped[ReasonClosed]++
		return false
	case q.bytes+o.size() > q.limit:
		q.ledger.Dropped[ReasonQueueFull]++
		return false
	}
	q.sequence++
	o.meta.Sequence = q.sequence
	o.meta.ID = EventID(o.meta.ProducerID, q.sequence)
	q.items = append(q.items, o)
	q.bytes += o.size()
	q.accepted++
	q.ledger.Pending++
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// drop counts a message that never reached the queue.
func (q *queue) drop(reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger.Offered++
	q.ledger.Dropped[reason]++
}

// take removes the oldest messages, at most records and bytes of them but always one. They stay in the bound and
// in Pending until settle.
func (q *queue) take(records, bytes int) []*outgoing {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.items) && n < records {
		size += q.items[n].size()
		if n > 0 && size > bytes {
			break
		}
		n++
	}
	chunk := q.items[:n:n]
	q.items = q.items[n:]
	if len(q.items) == 0 {
		q.items = nil // let go of the array behind a queue that has drained
	}
	return chunk
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// settle books a chunk: what is done was published or rejected, the rest is dropped with reason.
func (q *queue) settle(chunk []*outgoing, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range chunk {
		switch {
		case o.rejected != nil:
			q.ledger.Dropped[o.reason]++
		case o.done:
			q.ledger.Published++
		default:
			q.ledger.Dropped[reason]++
		}
		q.bytes -= o.size()
	}
	q.ledger.Pending -= uint64(len(chunk))
	q.settled += uint64(len(chunk))
	close(q.changed)
	q.changed = make(chan struct{})
}

// close refuses further offers and drops what is queued.
func (q *queue) close(reason string) {
	q.mu.Lock()
	q.closed = true
	rest := q.items
	q.items = nil
	q.mu.Unlock()
	q.settle(rest, reason)
}

// flush waits until all that was accepted before the call is settled.
func (q *queue) flush(ctx context.Context) error {
	q.mu.Lock()
	target := q.accepted
	q.mu.Unlock()
	for {
		q.mu.Lock()
		settled, changed := q.settled, q.changed
		q.mu.Unlock()
		if settled >= target {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (q *queue) snapshot() (Ledger, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ledger := q.ledger
	ledger.Dropped = maps.Clone(q.ledger.Dropped)
	return ledger, q.bytes
}
