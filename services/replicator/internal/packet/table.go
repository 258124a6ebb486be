package packet

import (
	"container/list"
	"net/netip"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

const (
	// sweepInterval is how often, by the packets' time, waiting and idle connections are looked for.
	sweepInterval = 200 * time.Millisecond
	// lingering is how long a connection that has ended is remembered, so that late copies of its segments begin no new one.
	lingering = 2 * time.Second
)

// flow names a connection: the client's and the server's address.
type flow struct{ client, server netip.AddrPort }

// table holds the connections. It is used by one goroutine; its books may be read by others.
type table struct {
	cfg   Config
	tap   *tap.Tap
	ports map[uint16]bool
	conns map[flow]*conn
	keys  map[*conn]flow
	// open and ended have the connection that was quiet longest at their front.
	open  *list.List
	ended *list.List
	held  int // bytes, as of each connection's last packet
	swept time.Time
	book  *metric.Book // of connections
}

func newTable(cfg Config, t *tap.Tap) *table {
	tb := &table{
		cfg: cfg, tap: t, ports: map[uint16]bool{}, conns: map[flow]*conn{}, keys: map[*conn]flow{}, open: list.New(), ended: list.New(),
		book: metric.NewBook(ConnectionsHop),
	}
	for _, p := range cfg.Ports {
		tb.ports[uint16(p)] = true
	}
	return tb
}

// add takes a segment and reports whether it is of a port that is listened to.
func (t *table) add(s segment) bool {
	clientSide := t.ports[s.dst.Port()]
	if !clientSide && !t.ports[s.src.Port()] {
		return false
	}
	key := flow{s.src, s.dst}
	if !clientSide {
		key = flow{s.dst, s.src}
	}
	t.sweep(s.at)
	c := t.conns[key]
	if s.syn && clientSide && c != nil && (c.closed || !c.client.known || c.client.next != s.seq+1) {
		t.remove(c, s.at, "") // the client's port is used anew
		c = nil
	}
	if c == nil {
		// A connection that began before us is joined at the client's next bytes.
		if !s.syn && (!clientSide || len(s.payload) == 0) || s.rst {
			return true
		}
		c = t.begin(key, s.at)
	}
	c.latest = s.at
	if c.closed {
		return true
	}
	t.open.MoveToBack(c.place)
	t.held -= c.bytes()
	if s.syn {
		c.opened(clientSide, s.seq+1)
		s.seq++
	}
	if c.reason == "" {
		c.add(s, clientSide)
	}
	if s.rst || c.over() || c.reason != "" && s.fin {
		t.end(c, s.at, "")
	}
	t.held += c.bytes()
	t.bound(s.at)
	return true
}

// bound forgets connections until no more is held than may be: those that have ended, then those that were quiet longest.
func (t *table) bound(at time.Time) {
	for len(t.conns) > t.cfg.MaxConnections && t.ended.Len() > 0 {
		t.remove(t.ended.Front().Value.(*conn), at, "")
	}
	for (t.held > t.cfg.BufferBytes || len(t.conns) > t.cfg.MaxConnections) && t.open.Len() > 0 {
		t.remove(t.open.Front().Value.(*conn), at, ReasonMemory)
	}
}

func (t *table) begin(key flow, at time.Time) *conn {
	c := newConn(t.tap, key.client.String())
	c.latest = at
	c.place = t.open.PushBack(c)
	t.conns[key], t.keys[c] = c, key
	t.book.See(1)
	return c
}

// end settles a connection, which stays for a moment.
func (t *table) end(c *conn, at time.Time, reason string) {
	if c.closed {
		return
	}
	c.close(at, reason)
	t.open.Remove(c.place)
	c.place = t.ended.PushBack(c)
	switch {
	case c.reason != "":
		t.book.Drop(c.reason, 1)
	case reason != "":
		t.book.Drop(reason, 1)
	case !c.seen && c.requests.dropped > 0:
		t.book.Drop(ReasonNotHTTP, 1)
	default:
		t.book.Pass(1)
	}
}

func (t *table) remove(c *conn, at time.Time, reason string) {
	t.held -= c.bytes()
	t.end(c, at, reason)
	t.ended.Remove(c.place)
	delete(t.conns, t.keys[c])
	delete(t.keys, c)
}

// sweep gives up what was waited for too long.
func (t *table) sweep(now time.Time) {
	if since := now.Sub(t.swept); since >= 0 && since < sweepInterval { // below 0 the clock was set back
		return
	}
	t.swept = now
	t.forget(t.ended, now, lingering)
	t.forget(t.open, now, t.cfg.IdleTimeout)
	for _, c := range t.conns {
		if !c.closed && (c.client.held != nil || c.server.held != nil) {
			t.held -= c.bytes()
			c.settleGaps(now, t.cfg.GapTimeout)
			t.held += c.bytes()
		}
	}
}

// forget removes the connections of a list that were quiet for the given time.
func (t *table) forget(l *list.List, now time.Time, quiet time.Duration) {
	for front := l.Front(); front != nil; front = l.Front() {
		c := front.Value.(*conn)
		if now.Sub(c.latest) < quiet {
			return
		}
		t.remove(c, now, "")
	}
}

// close settles all connections.
func (t *table) close(at time.Time) {
	for _, l := range []*list.List{t.open, t.ended} {
		t.forget(l, at.Add(time.Hour), 0)
	}
}
