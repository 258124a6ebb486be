package rpc

import (
	"errors"
	"net"
	"sync"
)

// bounded closes connections beyond the limits as they come; one that waited would keep a good client waiting behind it.
type bounded struct {
	net.Listener
	edge *Edge

	mu   sync.Mutex
	all  map[string]net.Conn // by the address of the peer
	from map[string]int      // how many come from a host
}

// Bound holds a listener to the limits that the servers of the Edge hold theirs to, for one whose connections are not all a
// server's.
func (e *Edge) Bound(ln net.Listener) net.Listener { return e.orPlain().bound(ln) }

func (e *Edge) bound(ln net.Listener) *bounded {
	return &bounded{Listener: ln, edge: e, all: map[string]net.Conn{}, from: map[string]int{}}
}

// hangUp closes the connection of a peer.
func (b *bounded) hangUp(address string) {
	b.mu.Lock()
	conn := b.all[address]
	b.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

// Accept returns the next connection within the limits.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := b.admit(conn); admitted != nil {
			return admitted, nil
		}
		b.edge.refuse("connections")
		_ = conn.Close()
	}
}

// admit returns nil when there are too many connections.
func (b *bounded) admit(conn net.Conn) net.Conn {
	host, address := hostOf(conn.RemoteAddr()), conn.RemoteAddr().String()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) >= b.edge.cfg.Limits.Connections || b.from[host] >= b.edge.cfg.Limits.ConnectionsPerAddress {
		return nil
	}
	counted := &counted{Conn: conn, release: sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.all, address)
		if b.from[host]--; b.from[host] == 0 {
			delete(b.from, host)
		}
	})}
	b.all[address] = counted
	b.from[host]++
	return counted
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (c *counted) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite ends what is sent, where the connection can do so alone.
func (c *counted) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
