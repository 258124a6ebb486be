package packet

import (
	"bytes"
	"strconv"
	"time"
)

// framing says where the body of a message ends.
type framing struct {
	length  int64 // when neither chunked nor toClose
	chunked bool
	toClose bool
	// opaque: what follows is no HTTP.
	opaque bool
}

// handler is told of the messages of one direction.
type handler interface {
	// head gets a whole head and says how the body is framed; false gives the direction up until it begins anew.
	head(head []byte, at time.Time) (framing, bool)
	// body gets a part of the body.
	body(p []byte)
	// hole: a part of the body is missing.
	hole(n int64)
	// end: the message is whole, but for its holes.
	end(at time.Time)
	// broken: the message that has begun, if any, cannot be read on. Reason is a ledger label.
	broken(reason string)
	// begins reports whether bytes may be the beginning of a message: 1 yes, 0 more is needed, -1 no.
	begins(p []byte) int
}

type state int

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	inRest   // a body that ends with the connection
	unsynced // waiting for a segment that begins a message
	opaque   // no HTTP any more
)

// message cuts one direction into HTTP/1 messages.
type message struct {
	to    handler
	state state
	buf   []byte // of an unfinished head, chunk size or trailer line
	at    time.Time
	left  int64
	// opened: a head was seen of the message that is being read.
	opened bool
	// dropped counts bytes that belong to no message.
	dropped int64
}

// maxLine bounds chunk sizes and trailer lines.
const maxLine = 8 << 10

// take implements consumer.
func (m *message) take(p []byte, start bool, at time.Time) {
	for len(p) > 0 {
		switch m.state {
		case opaque:
			m.dropped += int64(len(p))
			return
		case unsynced:
			if !start || m.to.begins(p) <= 0 {
				m.dropped += int64(len(p))
				return
			}
			m.state = inHead
		case inHead:
			p = m.takeHead(p, at)
		case inRest:
			m.to.body(p)
			return
		case inBody, inChunk:
			n := min(int64(len(p)), m.left)
			m.to.body(p[:n])
			m.left -= n
			p = p[n:]
			m.advance(at)
		default:
			p = m.takeLine(p, at)
		}
		start = false
	}
}

// advance leaves a body or chunk that was read.
func (m *message) advance(at time.Time) {
	switch {
	case m.left > 0:
	case m.state == inBody:
		m.finish(at)
	default:
		m.state = inChunkEnd
	}
}

func (m *message) finish(at time.Time) {
	m.state, m.opened = inHead, false
	m.to.end(at)
}

// takeHead looks for the end of a head and returns what comes behind it.
func (m *message) takeHead(p []byte, at time.Time) []byte {
	if len(m.buf) == 0 {
		// Empty lines between messages are allowed, and mean nothing.
		if p = bytes.TrimLeft(p, "\r\n"); len(p) == 0 {
			return nil
		}
		m.at = at
	}
	var head, rest []byte
	if len(m.buf) == 0 {
		end := headEnd(p, 0)
		if end < 0 {
			m.keepHead(p)
			return nil
		}
		head, rest = p[:end], p[end:]
	} else {
		from := len(m.buf)
		m.buf = append(m.buf, p...)
		end := headEnd(m.buf, max(0, from-3))
		if end < 0 {
			m.keepHead(nil)
			return nil
		}
		head, rest = m.buf[:end], p[end-from:]
	}
	f, ok := m.to.head(head, m.at)
	m.buf = nil
	if !ok {
		m.state = unsynced
		m.dropped += int64(len(rest))
		return nil
	}
	m.opened = true
	switch {
	case f.opaque:
		m.state = opaque
	case f.chunked:
		m.state = inChunkSize
	case f.toClose:
		m.state = inRest
	case f.length > 0:
		m.state, m.left = inBody, f.length
	default:
		m.finish(at)
	}
	return rest
}

// keepHead keeps the beginning of a head, as long as it may be one.
func (m *message) keepHead(p []byte) {
	m.buf = append(m.buf, p...)
	switch {
	case len(m.buf) > maxHead:
		m.fail(ReasonHead)
	case m.to.begins(m.buf) < 0:
		m.fail(ReasonNotHTTP)
	}
}

// headEnd is the index behind the empty line that ends a head, or -1. Bare line feeds end lines here, so that a head which
// has them is seen as a whole, and refused.
func headEnd(p []byte, from int) int {
	for i := from; ; {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch {
		case i < len(p) && p[i] == '\n':
			return i + 1
		case i+1 < len(p) && p[i] == '\r' && p[i+1] == '\n':
			return i + 2
		}
	}
}

// takeLine reads the lines of the chunked coding.
func (m *message) takeLine(p []byte, at time.Time) []byte {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		if m.buf = append(m.buf, p...); len(m.buf) > maxLine {
			m.fail(ReasonChunk)
		}
		return nil
	}
	line := p[:end+1]
	if len(m.buf) > 0 {
		m.buf = append(m.buf, line...)
		line = m.buf
	}
	m.buf = nil
	text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	if !crlf {
		m.fail(ReasonAmbiguous)
		return nil
	}
	switch m.state {
	case inChunkSize:
		size, _, _ := bytes.Cut(text, []byte{';'})
		n, err := strconv.ParseUint(string(size), 16, 62)
		switch {
		case err != nil:
			m.fail(ReasonChunk)
			return nil
		case n == 0:
			m.state = inTrailer
		default:
			m.state, m.left = inChunk, int64(n)
		}
	case inChunkEnd:
		if len(text) > 0 {
			m.fail(ReasonChunk)
			return nil
		}
		m.state = inChunkSize
	case inTrailer:
		if len(text) == 0 {
			m.finish(at)
		}
	}
	return p[end+1:]
}

// skip implements consumer.
func (m *message) skip(n uint32, at time.Time) {
	switch m.state {
	case opaque, unsynced:
		return
	case inRest:
		m.to.hole(int64(n))
		return
	case inBody:
		if int64(n) <= m.left {
			m.to.hole(int64(n))
			m.left -= int64(n)
			m.advance(at)
			return
		}
	case inChunk:
		// The gap may end before the chunk does; then the framing holds.
		if int64(n) <= m.left {
			m.to.hole(int64(n))
			m.left -= int64(n)
			m.advance(at)
			return
		}
	}
	m.fail(ReasonGap)
}

// fail gives up what is being read.
func (m *message) fail(reason string) {
	m.buf, m.opened = nil, false
	m.state = unsynced
	m.to.broken(reason)
}

// close ends the direction.
func (m *message) close(at time.Time) {
	switch {
	case m.state == inRest:
		m.finish(at)
	case m.opened || len(m.buf) > 0:
		m.fail(ReasonCut)
	}
	m.state = opaque
}
