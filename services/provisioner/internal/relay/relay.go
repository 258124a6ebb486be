package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// dialTimeout bounds the connecting to a leader; clients of gRPC give a connection up after little more.
	dialTimeout = 2 * time.Second
	// retryAccept is the time between two tries while no connection can be accepted, for want of file descriptors for example.
	retryAccept = 100 * time.Millisecond
)

// Config is what a relay works with.
type Config struct {
	// Listener that clients come to, with a bound on how many. The relay closes it.
	Listener net.Listener
	// Self is the address that others reach this process at.
	Self    string
	Log     *slog.Logger
	Metrics *Metrics
}

// Relay decides where each connection goes. It begins with nobody known to lead.
type Relay struct {
	cfg Config

	mu    sync.Mutex
	route *route
}

// route is where connections go until the next change of it.
type route struct {
	crowd
	to   string // the leader's address; empty when it is nobody's or ours
	term *Term  // set when this process leads
}

// New returns a relay; it starts nothing.
func New(cfg Config) *Relay { return &Relay{cfg: cfg, route: &route{}} }

// Run takes connections until ctx ends, and returns when all that it passed on are closed.
func (r *Relay) Run(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	defer r.change(&route{})
	stop := context.AfterFunc(ctx, func() { _ = r.cfg.Listener.Close() })
	defer stop()
	for {
		conn, err := r.cfg.Listener.Accept()
		switch {
		case err == nil:
			r.receive(ctx, &open, conn)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			r.cfg.Log.Warn("connection not accepted", "err", err)
			select {
			case <-time.After(retryAccept):
			case <-ctx.Done():
			}
		}
	}
}

// Follow passes connections on to the leader at an address from now on; to nobody when it is empty, or our own.
func (r *Relay) Follow(address string) {
	if address == r.cfg.Self {
		address = ""
	}
	r.mu.Lock()
	same := r.route.term == nil && r.route.to == address
	r.mu.Unlock()
	if !same {
		r.change(&route{to: address})
	}
}

// change closes the connections of the route before.
func (r *Relay) change(next *route) {
	r.mu.Lock()
	before := r.route
	r.route = next
	r.mu.Unlock()
	before.end()
}

func (r *Relay) receive(ctx context.Context, open *sync.WaitGroup, conn net.Conn) {
	r.mu.Lock()
	now := r.route
	r.mu.Unlock()
	switch {
	case now.term != nil:
		now.term.take(conn)
	case now.to != "" && now.add(conn):
		open.Go(func() {
			defer now.remove(conn)
			r.pass(ctx, now, conn)
		})
	default:
		r.cfg.Metrics.count(outcomeNoLeader)
		_ = conn.Close()
	}
}

// pass connects a client with the leader of a route until one of them goes, or the route changes.
func (r *Relay) pass(ctx context.Context, on *route, client net.Conn) {
	defer func() { _ = client.Close() }()
	call, cancel := context.WithTimeout(ctx, dialTimeout)
	leader, err := new(net.Dialer).DialContext(call, "tcp", on.to)
	cancel()
	if err != nil {
		// It died and its lease has not run out, or a policy of the network is in between.
		r.cfg.Metrics.count(outcomeUnreachable)
		r.cfg.Log.Debug("leader not reached", "address", on.to, "err", err)
		return
	}
	defer func() { _ = leader.Close() }()
	if !on.add(leader) {
		r.cfg.Metrics.count(outcomeNoLeader)
		return
	}
	defer on.remove(leader)
	r.cfg.Metrics.count(outcomePassed)
	exchange(client, leader)
}
