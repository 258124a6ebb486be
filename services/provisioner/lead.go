package provisioner

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/relay"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/rollout"
)

// Election has one of several provisioners lead.
type Election interface {
	// Run contends until ctx ends, and calls lead each time this process leads; the context of lead ends with the leadership. The
	// others are told that it serves at address, host:port. look is called while it does not lead, with what is known of who does.
	Run(ctx context.Context, address string, look func(kubernetes.LeaseView), lead func(context.Context, kubernetes.Leadership) error) error
	// Journal is a store that all contenders reach.
	Journal() journal.Store
}

// term is one leadership.
type term struct {
	// epoch and store are zero for a provisioner that is alone.
	epoch  uint64
	store  journal.Store
	health rollout.Health
}

// leadership is the part of readiness that says whether a provisioner does its duty in the election.
const leadership = "leadership"

// contend leads when it is this process's turn, and passes its clients on to who leads until then.
func (s *Service) contend(ctx context.Context, ln net.Listener) error {
	address, err := s.cfg.address(ln.Addr())
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	door := relay.New(relay.Config{Listener: s.deps.RPC.Bound(ln), Self: address, Log: s.deps.Log, Metrics: s.relayed})
	// It outlives the election: a leader that stops answers its last calls before.
	relaying, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		door.Run(relaying)
	}()
	s.deps.Admin.NotReady(leadership, "the lease was not read yet")
	s.listening(address)
	w := &watcher{service: s, door: door, address: address}
	err = s.deps.Election.Run(ctx, address, w.look, func(leading context.Context, l kubernetes.Leadership) error {
		return s.lead(ctx, leading, door, l)
	})
	stop()
	<-done
	return err
}

// lead provisions until leading ends, which it does before ctx when the leadership is lost.
func (s *Service) lead(ctx, leading context.Context, door *relay.Relay, l kubernetes.Leadership) error {
	leading, lost := context.WithCancel(leading)
	defer lost()
	listener := door.Lead(l.Holds)
	defer listener.Cut()
	// When the leadership is lost somebody else may lead already: no call that is under way is answered any more. When the process
	// stops nobody does before it has given the lease back, and calls are answered to the end.
	cut := context.AfterFunc(leading, func() {
		if ctx.Err() == nil {
			listener.Cut()
		}
	})
	defer cut()
	health := &termHealth{to: s.deps.Admin, unready: map[string]bool{}}
	defer health.end()
	return s.serveTerm(leading, listener, term{epoch: l.Epoch, store: &watchful{Store: s.deps.Election.Journal(), lost: lost}, health: health})
}

// watcher follows who leads while this process does not.
type watcher struct {
	service *Service
	door    *relay.Relay
	address string
	last    kubernetes.LeaseView // without its error
}

// look passes clients on to whom the lease names. A reserve is ready when it knows the lease, whether the leader is well or not: it
// would take over when its turn comes, which is its duty, and were the rest of a release to wait for a leader that is ill, nobody
// could roll out what heals it.
func (w *watcher) look(v kubernetes.LeaseView) {
	w.door.Follow(v.Address)
	deps := w.service.deps
	switch {
	case v.Err != nil:
		deps.Admin.NotReady(leadership, "who leads is not known: "+v.Err.Error())
	case v.Holder != "":
		deps.Admin.Ready(leadership)
	}
	v.Err = nil
	if v == w.last {
		return
	}
	w.last = v
	switch {
	case v.Holder == "":
	case v.Address == "":
		deps.Log.Warn("standing by; clients that come here are turned away", "leader", v.Holder, "reason", "the leader is of a release that says no address in the lease")
	case v.Address == w.address:
		deps.Log.Warn("standing by; clients that come here are turned away", "leader", v.Holder, "reason", "the leader says the address of this process: "+v.Address)
	default:
		deps.Log.Info("standing by", "leader", v.Holder, "address", v.Address)
	}
}

// watchful is a store that ends the term when somebody else has written it: what this process knows is outdated.
type watchful struct {
	journal.Store
	lost func()
}

// Save implements journal.Store.
func (w *watchful) Save(data []byte) error {
	err := w.Store.Save(data)
	if errors.Is(err, journal.ErrOutdated) {
		w.lost()
	}
	return err
}

// termHealth takes back, at the end of a leadership, what was reported of it: it is no fault of a reserve.
type termHealth struct {
	to rollout.Health

	mu      sync.Mutex
	unready map[string]bool
}

// NotReady implements rollout.Health.
func (h *termHealth) NotReady(part, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unready[part] = true
	h.to.NotReady(part, reason)
}

// Ready implements rollout.Health.
func (h *termHealth) Ready(part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unready, part)
	h.to.Ready(part)
}

func (h *termHealth) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for part := range h.unready {
		h.to.Ready(part)
	}
}

func (s *Service) journal(t term) (*journal.Journal, error) {
	if t.store == nil {
		return journal.Open(s.cfg.StateDir)
	}
	return journal.OpenStore(t.store)
}
