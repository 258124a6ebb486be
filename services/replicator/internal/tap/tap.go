// Package tap is where every way in hands over what it saw: it counts each request in its stratum, decides by its session
// whether it is copied, redacts the copy and offers it to the queue. Nothing here waits, and every request that was seen is
// accounted for in the ledger. A fault of its own, found by a request of whatever shape, costs that copy and nothing else.
package tap

import (
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/sample"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// Hop names the tap's ledger.
const Hop = "replicator/tap"

// Reasons for which a request is not copied, besides those of kafka.Publisher.
const (
	ReasonSampledOut = "sampled_out" // its session is not in the sample
	ReasonMethod     = "method"      // it may change state
	ReasonLoop       = "loop"        // the shadow sent it
	ReasonCap        = "cap"         // a cap on the copies per second is reached
	ReasonShed       = "shed"        // its session is in the sample, but copying it would have cost production too much
	ReasonRoom       = "room"        // too much is kept of bodies that are on their way
	ReasonFault      = "fault"       // looking at it, or copying it, met a fault of ours
	ReasonUpgrade    = "upgrade"     // it became a connection, which cannot be replayed as a request
	ReasonBody       = "body"        // its body was not read to the end, so that a copy would be another request
)

// Publisher queues copies without waiting.
type Publisher interface {
	PublishEvent(kafka.Event[*foreshadowv1.CapturedRequest]) bool
	Ledger() kafka.Ledger
}

// Config says what is tapped, and where it goes.
type Config struct {
	Workload workload.Workload
	// KeepBodies lists the media types of request bodies that travel.
	KeepBodies []string
	// TrustForwarded takes the client address from X-Forwarded-For.
	TrustForwarded bool
	// Share is the part of the sample that is copied at this moment, in [0, 1]; nil is all of it. A budget lowers it when
	// copying costs too much. The weights of the copies follow it.
	Share func() float64

	// Publisher and Accumulator are those of the first configuration for good.
	Publisher   Publisher
	Accumulator *observe.Accumulator
	// Log of the first configuration hears of the first fault; may be nil.
	Log *slog.Logger
}

// Tap is safe for concurrent use.
type Tap struct {
	publisher   Publisher
	accumulator *observe.Accumulator
	settings    atomic.Pointer[settings]
	sampler     *sample.Sampler
	answers     *answers
	bodies      room
	log         *slog.Logger
	faulty      atomic.Bool // it was said

	// handing orders handing over against reading the ledger: whoever hands over holds it for reading, so that the
	// ledger never sees an item in both books or in none.
	handing sync.RWMutex
	book    *metric.Book
}

// New returns a tap; it reads the databases that the configuration names.
func New(cfg Config) (*Tap, error) {
	t := &Tap{
		publisher: cfg.Publisher, accumulator: cfg.Accumulator, book: metric.NewBook(Hop), answers: newAnswers(cfg.Workload.Tap.AnswerShapes), bodies: room{most: bodyBytes},
		sampler: sample.New(cfg.Workload.Tap.Sampling, time.Now()), log: cfg.Log,
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	return t, t.Reload(cfg)
}

// Reload takes over what may change while traffic flows. Requests that have begun end by what held when they began. On an
// error all stays as it was.
func (t *Tap) Reload(cfg Config) error {
	set, err := newSettings(cfg, t.settings.Load())
	if err != nil {
		return err
	}
	t.settings.Store(set)
	t.sampler.Configure(cfg.Workload.Tap.Sampling)
	t.answers.configure(cfg.Workload.Tap.AnswerShapes)
	return nil
}

// Tick is to be called about once a second; the rates follow the traffic by it. It returns how well the sample shows the
// traffic of late; false when that is not known yet.
func (t *Tap) Tick(now time.Time) (sample.Figure, bool) {
	t.sampler.Tick(now, t.settings.Load().remaining())
	return t.sampler.Figure()
}

// Figure is the newest one; false when there is none yet.
func (t *Tap) Figure() (sample.Figure, bool) { return t.sampler.Figure() }

// Overflow is how many requests share a name because a bound was reached, by the bound.
func (t *Tap) Overflow() (routes, strata uint64) { return t.settings.Load().classifier.Overflow() }

// Ledger accounts for every request from its arrival to the broker's acknowledgement of its copy.
func (t *Tap) Ledger() metric.Ledger {
	t.handing.Lock()
	l, published := t.book.Ledger(), t.publisher.Ledger()
	t.handing.Unlock()
	// What was handed over is what the publisher was offered; the publisher's own account takes its place.
	l.Passed = published.Published
	l.Pending += published.Pending
	for reason, n := range published.Dropped {
		l.Dropped[reason] += n
	}
	return l
}

// RefuseLoop counts a request that the loop guard turned away. It is no user's: it neither fails nor breaks a promise.
func (t *Tap) RefuseLoop(latency time.Duration) {
	t.book.See(1)
	t.book.Drop(ReasonLoop, 1)
	t.accumulator.Arrive(stratum.Refused)
	t.accumulator.Complete(stratum.Refused, observe.Completion{Latency: latency})
}

// Begin counts the arrival of a request and decides whether it is copied. End must follow.
func (t *Tap) Begin(r *http.Request, arrive time.Time) *Exchange {
	x := &Exchange{tap: t, set: t.settings.Load(), request: r, arrive: arrive, stratum: stratum.Rest}
	t.book.See(1)
	x.look()
	t.accumulator.Arrive(x.stratum)
	return x
}

// look finds out what the request is, and decides.
func (x *Exchange) look() {
	defer x.contain()
	r, set := x.request, x.set
	x.stratum = set.classifier.Classify(r, set.address(r))
	x.rule = set.ruleOf(r.URL.EscapedPath())
	switch {
	case !x.rule.methods[r.Method]:
		x.drop = ReasonMethod
	case x.rule.ratio <= 0:
		x.drop = ReasonSampledOut
	default:
		x.choose()
	}
}

func (x *Exchange) choose() {
	x.session = x.set.session(x.request)
	x.draw, x.drawn = x.set.sampler.Draw(x.session), true
	var fate sample.Fate
	switch x.probability, fate = x.tap.sampler.Choose(x.draw, x.stratum, x.rule.ratio, x.set.remaining()); fate {
	case sample.In:
		x.capture = x.set.newCapture(x.request, x.rule, &x.tap.bodies)
	case sample.Shed:
		x.drop = ReasonShed
	default:
		x.drop = ReasonSampledOut
	}
}

// Missed counts a request of which no more is known than that it was there. It is in no observation.
func (t *Tap) Missed(reason string) {
	t.book.See(1)
	t.book.Drop(reason, 1)
}
