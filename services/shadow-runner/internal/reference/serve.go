//go:build linux

package reference

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// Real is how a server over real sockets behaves by a law.
type Real struct {
	Law Law
	// Burn makes the one worker use CPU for as long as a request takes; other workers only wait.
	Burn bool
	// Stove is where it burns, with Burn.
	Stove *Stove
	// HoldBytes of memory are in use while a request is at a worker.
	HoldBytes int
	// Connections of the law's number of workers are accepted at a time and more are closed; no request is refused otherwise.
	Connections bool
}

// Serve answers on ln until ctx ends, and returns how it served. Requests leave when the law says, worked out from when they
// came: a machine that wakes up late makes one answer late and not the queue longer. With Burn it does make it longer, for the
// work is real.
func Serve(ctx context.Context, ln net.Listener, r Real, seed uint64) (Served, error) {
	s := &server{Real: r, rng: rand.New(rand.NewPCG(seed, 2)), free: make([]time.Time, r.Law.Workers)}
	if r.Connections {
		ln = &narrow{Listener: ln, room: make(chan struct{}, r.Law.Workers)}
	}
	if r.Burn && r.Stove == nil {
		return Served{}, errors.New("a server that burns needs a stove")
	}
	err := telemetry.ServeHTTP(ctx, ln, &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}, time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served, err
}

type server struct {
	Real

	mu     sync.Mutex
	rng    *rand.Rand
	free   []time.Time // when each worker is, in any order
	served Served
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leaves, need, ok := s.admit(time.Now())
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if s.Burn {
		if took, ok := s.Stove.burn(need); ok {
			s.note(took, 0)
		}
		return
	}
	if s.HoldBytes > 0 {
		held, err := hold(s.HoldBytes)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer func() { _ = unix.Munmap(held) }()
	}
	_ = pace.Precise(r.Context(), leaves) // who has left needs no answer
	s.note(need, time.Since(leaves))
}

func (s *server) note(took, late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served.note(took, late)
}

// admit gives a request to the worker that is free first.
func (s *server) admit(now time.Time) (leaves time.Time, need time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	need = s.Law.need(s.rng)
	if s.Connections { // each has a worker
		return now.Add(need + s.Law.Base), need, true
	}
	first := 0
	for i, t := range s.free {
		if t.Before(s.free[first]) {
			first = i
		}
	}
	at := s.free[first]
	if at.Before(now) {
		at = now
	} else if s.Law.Refuses {
		return time.Time{}, 0, false
	}
	s.free[first] = at.Add(need)
	return at.Add(need + s.Law.Base), need, true
}

// hold takes memory from the kernel, and gives it back by Munmap: a heap would keep it.
func hold(bytes int) ([]byte, error) {
	m, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", bytes, err)
	}
	for i := 0; i < bytes; i += 4096 {
		m[i] = 1
	}
	return m, nil
}

// narrow is a listener with room for a number of connections.
type narrow struct {
	net.Listener
	room chan struct{}
}

// Accept closes at once what there is no room for.
func (n *narrow) Accept() (net.Conn, error) {
	for {
		c, err := n.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case n.room <- struct{}{}:
			return &counted{Conn: c, leave: sync.OnceFunc(func() { <-n.room })}, nil
		default:
			_ = c.Close()
		}
	}
}

type counted struct {
	net.Conn
	leave func()
}

// Close makes room.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
