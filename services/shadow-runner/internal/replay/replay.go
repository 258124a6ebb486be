package replay

import (
	"context"
	"hash/fnv"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// Reasons why a captured request was not replayed, beside those of the fleet.
const (
	StateChanging  = "state_changing"  // it would change state, and its route is not in replay.state_changing
	BodyIncomplete = "body_incomplete" // its body did not travel with it
	Thinned        = "thinned"         // amplification below 1 leaves its session out
	Late           = "late"            // it could not be sent when it was due
	Overload       = "overload"        // too many requests are in flight
	QueueFull      = "queue_full"      // too many requests wait for their moment
	Shutdown       = "shutdown"        // the runner ended before it was due
)

// Instances says where the next request may go, or why nowhere; done is to be called once it has ended.
type Instances interface {
	Pick() (instance platform.Instance, done func(), reason string)
}

// Sender sends one request and waits for its end.
type Sender interface {
	Send(ctx context.Context, address string, r *captured.Request) client.Outcome
}

// Observer counts what the shadow did.
type Observer interface {
	Sent(s traffic.Stratum, bytes uint64, lag time.Duration)
	Answered(s traffic.Stratum, bytes uint64, latency time.Duration, failed bool)
}

// Options of a Replayer.
type Options struct {
	// Allow says which requests may be sent.
	Allow Allow
	// Amplification is how many times a session is sent; Weighted multiplies it by what a copy stands for.
	Amplification float64
	Weighted      bool
	// MaxInFlight bounds requests in flight, MaxQueued those that wait for their moment and MaxQueuedBytes their memory.
	MaxInFlight, MaxQueued, MaxQueuedBytes int
	// Lag is from production's arrival to the moment a request is due; MaxLate is how much later it may be sent.
	Lag, MaxLate time.Duration
	// Instances, Sender and Observer are where it goes.
	Instances Instances
	Sender    Sender
	Observer  Observer
	// Compare is given each answer, when it is set; the time it takes is no latency.
	Compare func(ctx context.Context, r *captured.Request, instance platform.Instance, out client.Outcome)
	// Captured is the account of captured requests, Extra that of the copies that amplification adds.
	Captured, Extra *metric.Book
	// Wait and Now are the clock.
	Wait pace.Wait
	Now  func() time.Time
}

// Replayer is safe for concurrent use.
type Replayer struct {
	o    Options
	room chan struct{} // one token per request in flight

	mu     sync.Mutex
	queue  queue
	bytes  int // of what is queued
	order  uint64
	closed bool
	wake   chan struct{}
}

// New returns a replayer; it sends while Run runs.
func New(o Options) *Replayer {
	return &Replayer{o: o, room: make(chan struct{}, o.MaxInFlight), wake: make(chan struct{}, 1)}
}

// Allow says which requests may be sent.
type Allow struct {
	// Methods that may be sent at all.
	Methods []string
	// StateChanging are the routes, method included, whose requests may change state. Whatever the route, methods that are
	// safe by RFC 9110 section 9.2.1 change none.
	StateChanging []string
}

// Reason says why a request may never be sent, whatever the moment; empty when it may.
func (a Allow) Reason(req *captured.Request) string {
	safe := slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, req.Method)
	switch {
	case !slices.Contains(a.Methods, req.Method) || !safe && !slices.Contains(a.StateChanging, req.Stratum.Route):
		return StateChanging
	case !req.Complete:
		return BodyIncomplete
	}
	return ""
}

// Offer takes a captured request that the account has seen. It never blocks.
func (r *Replayer) Offer(req *captured.Request) {
	if reason := r.o.Allow.Reason(req); reason != "" {
		r.o.Captured.Drop(reason, 1)
		return
	}
	if r.o.Now().Sub(req.Arrive) > r.o.Lag+r.o.MaxLate {
		// A backlog, after a stop of the runner, must not fill the queue.
		r.o.Captured.Drop(Late, 1)
		return
	}
	copies := r.copies(req)
	if copies == 0 {
		r.o.Captured.Drop(Thinned, 1)
		return
	}
	due := req.Arrive.Add(r.o.Lag)
	r.put(item{due: due, req: req})
	for k := 1; k < copies; k++ {
		r.o.Extra.See(1)
		shift := time.Duration(fraction(req.Session, k) * float64(time.Second))
		r.put(item{due: due.Add(shift), req: req.Copy(k), extra: true})
	}
}

// copies is how often the session is sent. The requests of a session have one weight, that of the session, so that all of them
// are sent equally often.
func (r *Replayer) copies(req *captured.Request) int {
	times := r.o.Amplification
	if r.o.Weighted {
		times *= req.Weight
	}
	whole := int(times)
	if fraction(req.Session, 0) < times-float64(whole) {
		whole++
	}
	return min(whole, maxCopies)
}

// maxCopies of one session: a weight beyond is a sample too thin to be multiplied.
const maxCopies = 1000

// fraction is a number in [0, 1) that depends on session and salt only.
func fraction(session string, salt int) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(salt), byte(salt >> 8)})
	_, _ = h.Write([]byte(session))
	// FNV spreads its last bytes over the low bits only; one round of a mixer spreads them over all.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

func (r *Replayer) put(i item) {
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		r.book(i).Drop(Shutdown, 1)
		return
	case len(r.queue) >= r.o.MaxQueued || r.bytes+i.req.Size() > r.o.MaxQueuedBytes:
		r.mu.Unlock()
		r.book(i).Drop(QueueFull, 1)
		return
	}
	i.order = r.order
	r.order++
	r.queue.add(i)
	r.bytes += i.req.Size()
	first := r.queue[0].order == i.order
	r.mu.Unlock()
	if first {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *Replayer) book(i item) *metric.Book {
	if i.extra {
		return r.o.Extra
	}
	return r.o.Captured
}

// Run sends what is due until ctx ends, then drops what is not due yet and waits for what is in flight, at most as long as
// the sender's timeout; a request that is in flight then is cut off when abort ends.
func (r *Replayer) Run(ctx, abort context.Context) error {
	var flights sync.WaitGroup
	for r.await(ctx) {
		r.mu.Lock()
		i := r.queue.take()
		r.bytes -= i.req.Size()
		r.mu.Unlock()
		r.send(abort, i, &flights)
	}
	r.mu.Lock()
	r.closed = true
	rest := r.queue
	r.queue, r.bytes = nil, 0
	r.mu.Unlock()
	for _, i := range rest {
		r.book(i).Drop(Shutdown, 1)
	}
	flights.Wait()
	return nil
}

// await returns true once the earliest request is due, and false when ctx has ended.
func (r *Replayer) await(ctx context.Context) bool {
	for {
		r.mu.Lock()
		var due time.Time
		if len(r.queue) > 0 {
			due = r.queue[0].due
		}
		r.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if due.IsZero() {
			select {
			case <-ctx.Done():
				return false
			case <-r.wake:
				continue
			}
		}
		if !due.After(r.o.Now()) {
			return true
		}
		r.waitUntil(ctx, due)
	}
}

// waitUntil ends early when an earlier request comes.
func (r *Replayer) waitUntil(ctx context.Context, due time.Time) {
	const interruptible = 5 * time.Millisecond
	if d := due.Sub(r.o.Now()); d > interruptible {
		timer := time.NewTimer(d - interruptible/2)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		return
	}
	_ = r.o.Wait(ctx, due) // the caller looks at ctx and the clock again
}

// send never waits for the shadow.
func (r *Replayer) send(ctx context.Context, i item, flights *sync.WaitGroup) {
	book := r.book(i)
	if r.o.Now().Sub(i.due) > r.o.MaxLate {
		book.Drop(Late, 1)
		return
	}
	instance, done, reason := r.o.Instances.Pick()
	if reason != "" {
		book.Drop(reason, 1)
		return
	}
	select {
	case r.room <- struct{}{}:
	default:
		done()
		book.Drop(Overload, 1)
		return
	}
	book.Pass(1)
	flights.Go(func() {
		defer done() // once it is compared, too: that sends it again
		// Here, and not before the goroutine runs, so that a busy machine's delay is part of the lag.
		r.o.Observer.Sent(i.req.Stratum, i.req.WireBytes(), r.o.Now().Sub(i.due))
		out := r.o.Sender.Send(ctx, instance.Address, i.req)
		<-r.room
		r.o.Observer.Answered(i.req.Stratum, out.Bytes, out.Done.Sub(i.due), out.Failed())
		if r.o.Compare != nil && !i.extra {
			r.o.Compare(ctx, i.req, instance, out)
		}
	})
}
