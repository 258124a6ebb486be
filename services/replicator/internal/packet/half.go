package packet

import (
	"slices"
	"time"
)

// maxHeld bounds what one direction holds of segments that came too early.
const maxHeld = 4 << 20

// consumer takes the bytes of one direction in their order.
type consumer interface {
	// take gets the next bytes; start says that a segment begins with them. They are valid during the call.
	take(p []byte, start bool, at time.Time)
	// skip is told that n bytes are missing.
	skip(n uint32, at time.Time)
}

// half puts one direction of a connection together. Sequence numbers are compared by their signed difference, which holds
// around the wrap for streams that are less than 2 GiB apart.
type half struct {
	next  uint32 // of the byte that is due
	known bool   // next is
	held  []held // by sequence number; none of them is due
	bytes int    // held
	fin   uint32 // number of the end, when ended
	ended bool
}

// held is a segment that waits: for what comes before it, or for the other side's bytes that its sender had seen.
type held struct {
	seq, ack uint32
	hasAck   bool
	data     []byte
	at       time.Time
}

// before reports whether a comes before b in sequence space.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// open sets the beginning, which the handshake tells.
func (h *half) open(first uint32) { *h = half{next: first, known: true} }

func always(uint32, bool) bool { return true }

// add takes a segment. ready says whether what its sender acknowledges has been delivered.
func (h *half) add(s segment, ready func(ack uint32, has bool) bool, to consumer) {
	if !h.known {
		h.next, h.known = s.seq, true
	}
	if s.fin {
		h.fin, h.ended = s.seq+uint32(len(s.payload))+s.missing, true
	}
	data, seq := s.payload, s.seq
	if len(data) == 0 {
		return
	}
	if before(seq, h.next) {
		old := h.next - seq
		if uint32(len(data)) <= old {
			return // all of it came before
		}
		data, seq = data[old:], h.next
	}
	if seq == h.next && len(h.held) == 0 && ready(s.ack, s.hasAck) {
		h.next += uint32(len(data))
		to.take(data, seq == s.seq, s.at)
		return
	}
	h.hold(held{seq: seq, ack: s.ack, hasAck: s.hasAck, data: data, at: s.at})
	h.drain(ready, to)
}

// hold keeps a copy in its place. Of two that begin at the same byte the longer one stays.
func (h *half) hold(s held) {
	at, found := slices.BinarySearchFunc(h.held, s.seq, func(x held, seq uint32) int { return int(int32(x.seq - seq)) })
	if found {
		if len(h.held[at].data) >= len(s.data) {
			return
		}
		h.bytes -= len(h.held[at].data)
		h.held = slices.Delete(h.held, at, at+1)
	}
	s.data = slices.Clone(s.data)
	h.bytes += len(s.data)
	h.held = slices.Insert(h.held, at, s)
}

// drain delivers what has become due.
func (h *half) drain(ready func(ack uint32, has bool) bool, to consumer) {
	n := 0
	for n < len(h.held) {
		s := h.held[n]
		if before(h.next, s.seq) || !ready(s.ack, s.hasAck) {
			break
		}
		n++
		h.bytes -= len(s.data)
		if old := h.next - s.seq; old < uint32(len(s.data)) {
			h.next = s.seq + uint32(len(s.data))
			to.take(s.data[old:], old == 0, s.at)
		}
	}
	h.held = slices.Delete(h.held, 0, n)
	if len(h.held) == 0 {
		h.held = nil
	}
}

// force delivers what is held before the given number, ready or not, and gives up what is missing there.
func (h *half) force(number uint32, at time.Time, to consumer) {
	for h.known && before(h.next, number) {
		if len(h.held) == 0 || !before(h.held[0].seq, number) {
			h.jump(number, at, to)
			return
		}
		h.jump(h.held[0].seq, at, to)
		first := h.held[:1]
		rest := h.held[1:]
		h.held = first
		h.drain(always, to)
		if h.held = rest; len(rest) == 0 {
			h.held = nil
		}
	}
}

// jump gives up what is missing before the given number.
func (h *half) jump(number uint32, at time.Time, to consumer) {
	if h.known && before(h.next, number) {
		n := number - h.next
		h.next = number
		to.skip(n, at)
	}
}

// waitingSince is when the oldest held segment came.
func (h *half) waitingSince() (oldest time.Time, waiting bool) {
	for _, s := range h.held {
		if oldest.IsZero() || s.at.Before(oldest) {
			oldest = s.at
		}
	}
	return oldest, len(h.held) > 0
}

// reached reports whether all before the given number was delivered, as far as there will be any.
func (h *half) reached(number uint32) bool {
	return !h.known || !before(h.next, number) || h.over()
}

// over reports whether the end was reached.
func (h *half) over() bool { return h.ended && h.known && !before(h.next, h.fin) }
