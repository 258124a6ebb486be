package metric

import (
	"maps"
	"sync"
)

// Ledger counts what one hop did with all that came to it. It balances at any moment:
//
//	Seen = Passed + sum(Dropped) + Pending
//
// where sampled-out items are a reason of Dropped like any other.
type Ledger struct {
	// Hop names the place, for example "replicator/tap".
	Hop string `json:"hop"`
	// Seen came in.
	Seen uint64 `json:"seen"`
	// Passed went on to the next hop.
	Passed uint64 `json:"passed"`
	// Dropped by reason.
	Dropped map[string]uint64 `json:"dropped,omitempty"`
	// Pending is still here.
	Pending uint64 `json:"pending"`
}

// Lost is the sum of all drops.
func (l Ledger) Lost() uint64 {
	var n uint64
	for _, d := range l.Dropped {
		n += d
	}
	return n
}

// Balanced reports whether every item is accounted for.
func (l Ledger) Balanced() bool { return l.Seen == l.Passed+l.Lost()+l.Pending }

// Book keeps a Ledger; it is safe for concurrent use. Every item is announced by See and settled by Pass or Drop.
type Book struct {
	mu     sync.Mutex
	ledger Ledger
}

// NewBook returns an empty book for the hop.
func NewBook(hop string) *Book {
	return &Book{ledger: Ledger{Hop: hop, Dropped: map[string]uint64{}}}
}

// See announces n items, which are pending until settled.
func (b *Book) See(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.Seen += n
	b.ledger.Pending += n
}

// Pass settles n items that went on.
func (b *Book) Pass(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.Passed += n
	b.ledger.Pending -= n
}

// Drop settles n items that did not.
func (b *Book) Drop(reason string, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.Dropped[reason] += n
	b.ledger.Pending -= n
}

// Ledger returns a copy that balances.
func (b *Book) Ledger() Ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.ledger
	l.Dropped = maps.Clone(l.Dropped)
	return l
}
