package sample

const (
	// blockLen requests are kept together, some 100 bytes each: a longer array would have to be copied as it grows, which those
	// who wait for the lock would feel.
	blockLen = 1 << 10
	// maxBlocks bounds what was seen and not yet accounted for: of a second with more requests the account shows the first.
	maxBlocks = 1 << 7
)

// pending is what was seen since the last Tick. It is not safe for concurrent use.
type pending struct {
	blocks [][]Seen // all but the last one are full
	spare  [][]Seen
}

// add keeps what was seen, as long as there is room.
func (p *pending) add(seen Seen) {
	last := len(p.blocks) - 1
	if last < 0 || len(p.blocks[last]) == blockLen {
		if len(p.blocks) == maxBlocks {
			return
		}
		p.blocks = append(p.blocks, p.block())
		last++
	}
	p.blocks[last] = append(p.blocks[last], seen)
}

func (p *pending) block() []Seen {
	n := len(p.spare)
	if n == 0 {
		return make([]Seen, 0, blockLen)
	}
	b := p.spare[n-1]
	p.spare = p.spare[:n-1]
	return b[:0]
}

// take returns what was seen, which begins anew.
func (p *pending) take() [][]Seen {
	blocks := p.blocks
	p.blocks = nil
	return blocks
}

// reuse takes blocks back of which nobody has use.
func (p *pending) reuse(blocks [][]Seen) {
	for _, b := range blocks {
		if len(p.spare) < maxBlocks {
			p.spare = append(p.spare, b)
		}
	}
}
