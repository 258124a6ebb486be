package packet

import (
	"bytes"
	"container/list"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Reasons for which a connection is not read. They are ledger labels.
const (
	ReasonTLS     = "tls"
	ReasonHTTP2   = "http2"
	ReasonNotHTTP = "not_http"
)

// exchangeBytes is what an exchange takes besides the bytes of its request, roughly.
const exchangeBytes = 1 << 10

// maxPipelined bounds the requests of one connection that wait for their answers.
const maxPipelined = 1000

// conn is one connection. It is used by one goroutine.
type conn struct {
	tap    *tap.Tap
	remote string
	latest time.Time
	place  *list.Element

	client, server half
	requests       message
	answers        message
	pending        []*exchange // in the order of their requests
	current        *exchange   // whose request is being read
	reading        *exchange   // whose answer is being read
	interim        bool        // the answer that is being read is not the last one to its request
	// blind: an answer was lost while several were due, so that none of this connection can be told from another any more.
	blind      bool
	weight     int // bytes held by what is pending
	classified bool
	reason     string // why the connection is not read; empty when it is
	closed     bool
	seen       bool // some request was read
}

func newConn(t *tap.Tap, remote string) *conn {
	c := &conn{tap: t, remote: remote}
	c.requests = message{to: (*requestSide)(c), state: unsynced}
	c.answers = message{to: (*answerSide)(c), state: unsynced}
	return c
}

// opened: the handshake was seen, so that the first bytes begin a message.
func (c *conn) opened(clientSide bool, first uint32) {
	switch {
	case clientSide && !c.client.known:
		c.client.open(first)
		c.requests.state = inHead
	case !clientSide && !c.server.known:
		c.server.open(first)
		c.answers.state = inHead
	}
}

// add takes a segment of either side.
func (c *conn) add(s segment, clientSide bool) {
	if clientSide {
		c.client.add(s, c.clientReady, (*clientBytes)(c))
	} else {
		c.server.add(s, c.serverReady, &c.answers)
	}
	c.pump()
	c.settleGaps(s.at, 0)
}

// clientReady and serverReady report whether what the sender of a segment had seen of the other side was delivered. What
// overtakes on the way here, or follows upon something lost, must not be paired with something else.
func (c *conn) clientReady(ack uint32, has bool) bool { return !has || c.server.reached(ack) }

func (c *conn) serverReady(ack uint32, has bool) bool { return !has || c.client.reached(ack) }

// pump delivers what the two directions were holding for each other.
func (c *conn) pump() {
	for c.client.held != nil || c.server.held != nil {
		client, server := len(c.client.held), len(c.server.held)
		c.client.drain(c.clientReady, (*clientBytes)(c))
		c.server.drain(c.serverReady, &c.answers)
		if len(c.client.held) == client && len(c.server.held) == server {
			return
		}
	}
}

// settleGaps gives up segments that were waited for longer than the timeout, or for which too much is held. A timeout of 0
// looks at the amount alone.
func (c *conn) settleGaps(now time.Time, timeout time.Duration) {
	for {
		client, clientWaits := c.client.waitingSince()
		server, serverWaits := c.server.waitingSince()
		h, other, to, toOther, since := &c.client, &c.server, consumer((*clientBytes)(c)), consumer(&c.answers), client
		if !clientWaits || serverWaits && server.Before(client) {
			h, other, to, toOther, since = other, h, toOther, to, server
		}
		full := c.client.bytes > maxHeld || c.server.bytes > maxHeld
		if !clientWaits && !serverWaits || !full && (timeout == 0 || now.Sub(since) < timeout) {
			return
		}
		first := h.held[0]
		if first.hasAck {
			// What its sender had seen and we have not is lost on the way here.
			other.force(first.ack, now, toOther)
		}
		h.force(first.seq+uint32(len(first.data)), now, to)
		c.pump()
	}
}

func (c *conn) bytes() int {
	return c.client.bytes + c.server.bytes + cap(c.requests.buf) + cap(c.answers.buf) + c.weight
}

// over reports whether both directions have ended.
func (c *conn) over() bool { return c.client.over() && c.server.over() }

// close settles what is open. Reason is why it could not go on; empty when the connection ended.
func (c *conn) close(at time.Time, reason string) {
	if c.closed {
		return
	}
	c.settleGaps(at.Add(time.Hour), time.Minute)
	if reason == "" {
		reason = ReasonCut
	}
	if c.current != nil {
		c.current.res.Lost, c.current.sent = reason, true
		c.current = nil
	}
	c.requests.state, c.requests.buf = opaque, nil
	c.answers.close(at)
	for _, x := range c.pending {
		x.giveUpAnswer() // whether the client or the server left, and what was on its way, cannot be told
		x.sent = true
	}
	c.flush()
	c.closed = true
	c.client, c.server = half{}, half{}
}

// flush ends the exchanges that are settled, in their order.
func (c *conn) flush() {
	n := 0
	for n < len(c.pending) && c.pending[n].sent && c.pending[n].answered {
		x := c.pending[n]
		if x.tapped != nil {
			x.tapped.End(x.res)
		} else {
			c.tap.RefuseLoop(x.res.Latency)
		}
		c.weight -= x.weight
		n++
	}
	if n > 0 {
		c.pending = slices.Delete(c.pending, 0, n)
	}
}

// clientBytes looks at the first bytes of a connection before they are read as HTTP/1.
type clientBytes conn

func (c *clientBytes) take(p []byte, start bool, at time.Time) {
	if !c.classified {
		c.classified = true
		if c.reason = classify(p, c.requests.state == unsynced); c.reason != "" {
			c.requests.state, c.answers.state = opaque, opaque
		}
	}
	c.requests.take(p, start, at)
}

func (c *clientBytes) skip(n uint32, at time.Time) { c.requests.skip(n, at) }

// classify recognises what is no HTTP/1: TLS records, and HTTP/2 by its preface or, joined half way, by its frames.
func classify(p []byte, midway bool) string {
	const preface = "PRI * HTTP/2.0\r\n"
	switch {
	case len(p) >= 3 && p[0] >= 0x14 && p[0] <= 0x17 && p[1] == 3 && p[2] <= 4:
		return ReasonTLS
	case bytes.HasPrefix(p, []byte(preface)):
		return ReasonHTTP2
	case midway && len(p) >= 9:
		length := int(p[0])<<16 | int(p[1])<<8 | int(p[2])
		if p[3] <= 9 && p[5]&0x80 == 0 && (length == len(p)-9 || length < len(p)-9 && length <= 1<<14 && p[0] == 0) {
			return ReasonHTTP2
		}
	}
	return ""
}

// requestSide is told of the client's messages.
type requestSide conn

func (c *requestSide) head(head []byte, at time.Time) (framing, bool) {
	r, f, err := readRequest(head, c.remote)
	if err != nil || len(c.pending) >= maxPipelined {
		reason := ReasonNotHTTP
		switch {
		case errors.Is(err, errAmbiguous):
			reason = ReasonAmbiguous
		case err == nil:
			reason = ReasonMemory
		}
		c.broken(reason)
		return framing{}, false
	}
	x := &exchange{method: r.Method, arrive: at, weight: 2*len(head) + exchangeBytes, answered: c.blind}
	c.weight += x.weight
	x.res = tap.Result{Blind: c.blind, BodyRead: true, RequestBytes: int64(len(head)), Latency: -1}
	if !tap.IsLoop(r.Header) {
		x.tapped = c.tap.Begin(r, at)
	}
	c.seen = true
	c.pending, c.current = append(c.pending, x), x
	return f, true
}

func (c *requestSide) body(p []byte) {
	x := c.current
	x.res.RequestBytes += int64(len(p))
	x.res.RequestBodyBytes += int64(len(p))
	if x.tapped == nil {
		return
	}
	if w := x.tapped.Body(); w != nil {
		_, _ = w.Write(p) // it keeps or it forgets, it does not err
		x.weight += len(p)
		c.weight += len(p)
	}
}

func (c *requestSide) hole(n int64) {
	c.current.res.Lost = ReasonGap
	c.current.res.RequestBytes += n
	c.current.res.RequestBodyBytes += n
}

func (c *requestSide) end(time.Time) {
	if c.current != nil {
		c.current.sent, c.current = true, nil
		(*conn)(c).flush()
	}
}

// broken: which answers belong to which request is not known from here on, until a request begins anew.
func (c *requestSide) broken(reason string) {
	switch {
	case c.current != nil:
		c.current.res.Lost, c.current.sent, c.current = reason, true, nil
	case c.seen || reason != ReasonNotHTTP:
		// A request of which no more than the existence is known.
		c.tap.Missed(reason)
	case c.reason == "":
		c.reason = reason
	}
	for _, x := range c.pending {
		if x != c.reading {
			x.giveUpAnswer()
		}
	}
	(*conn)(c).flush()
}

func (c *requestSide) begins(p []byte) int { return beginsRequest(p) }

// answerSide is told of the server's messages.
type answerSide conn

// waiting is the request that the next answer is for, or nil.
func (c *answerSide) waiting() *exchange {
	for _, x := range c.pending {
		if !x.answered {
			return x
		}
	}
	return nil
}

func (c *answerSide) head(head []byte, at time.Time) (framing, bool) {
	x, method := c.waiting(), http.MethodGet
	if x != nil {
		method = x.method
	}
	a, err := readAnswer(head, method)
	if err != nil {
		c.broken(ReasonNotHTTP)
		return framing{}, false
	}
	c.interim = a.status/100 == 1 && a.status != http.StatusSwitchingProtocols
	if c.reading = x; x == nil {
		return a.framing, !a.framing.opaque
	}
	x.res.ResponseBytes += a.bytes
	if !c.interim {
		x.res.Status, x.res.Failed = a.status, a.status >= http.StatusInternalServerError
		x.res.Latency = at.Sub(x.arrive)
		if x.tapped != nil && x.tapped.Sampled() {
			x.answer = x.tapped.Answer(answerHead(head, a))
		}
	}
	if a.framing.opaque {
		x.res.Upgraded, x.sent, x.answered = true, true, true
		c.requests.state = opaque
		c.current, c.reading = nil, nil
		(*conn)(c).flush()
	}
	return a.framing, true
}

func (c *answerSide) body(p []byte) {
	x := c.reading
	if x == nil {
		return
	}
	x.count(int64(len(p)))
	if x.answer != nil && !c.interim {
		_, _ = x.answer.Write(p) // it keeps or it forgets, it does not err
	}
}

// hole counts like what was seen: answers are measured, not copied.
func (c *answerSide) hole(n int64) {
	if x := c.reading; x != nil {
		x.count(n)
		x.res.Cut = true
	}
}

func (c *answerSide) end(at time.Time) {
	x := c.reading
	if x == nil || c.interim {
		return
	}
	c.reading = nil
	x.res.Latency, x.answered = at.Sub(x.arrive), true
	(*conn)(c).flush()
}

// broken: none of the answers that are due can be told from another.
func (c *answerSide) broken(string) {
	c.reading = nil
	due := 0
	for _, x := range c.pending {
		if !x.answered {
			due++
		}
		x.giveUpAnswer()
	}
	c.blind = c.blind || due > 1
	(*conn)(c).flush()
}

func (c *answerSide) begins(p []byte) int { return beginsAnswer(p) }
