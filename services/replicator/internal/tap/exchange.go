package tap

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
	"github.com/foreshadow/foreshadow/services/replicator/internal/sample"
)

// Result is how production answered a request.
type Result struct {
	// Status sent to the client; 0 when the client went away first.
	Status int
	// Failed: status 5xx, no instance, or a transport error on our side.
	Failed bool
	// Aborted: the client went away. That is no failure of ours.
	Aborted bool
	// Late: an aborted request had waited beyond the SLO latency without an answer, so the promise was broken before.
	// It has no meaning for requests that were answered.
	Late bool
	// Upgraded: the connection was handed over to another protocol.
	Upgraded bool
	// Blind: this way in does not see how requests end. Then there is no status, and the request counts as no response.
	Blind bool
	// Cut: the body of the answer was not passed on, or seen, to its end.
	Cut bool
	// Lost says why the copy would not be the whole request, beyond what BodyRead says; empty when it is whole.
	Lost string
	// BodyRead: the request body was read to its end.
	BodyRead bool
	// RequestBytes and ResponseBytes count bodies and heads; ResponseBodyBytes the response body alone.
	RequestBytes      int64
	ResponseBytes     int64
	ResponseBodyBytes int64
	// RequestBodyBytes is the size of the request body as far as it was read.
	RequestBodyBytes int64
	// Latency from the request head to the last byte of the response; negative when it is not known.
	Latency time.Duration
}

// Exchange is one request on its way through production.
type Exchange struct {
	tap     *Tap
	set     *settings
	request *http.Request
	arrive  time.Time
	stratum traffic.Stratum
	session string
	rule    *rule
	// drawn: the request might have been copied, and draw is its session's place.
	drawn       bool
	draw        traffic.Draw
	probability float64
	drop        string
	capture     *capture
	answer      *answer
}

// Body returns where the request body is to be written as it streams by, or nil when it is not wanted.
func (x *Exchange) Body() io.Writer {
	if x.capture == nil {
		return nil
	}
	return x.capture
}

// Sampled reports whether End will make a copy, as far as is known.
func (x *Exchange) Sampled() bool { return x.drop == "" }

// End counts the completion and offers the copy.
func (x *Exchange) End(res Result) { x.EndLater(res, nil) }

// EndLater is End that has later make a copy whose answer has to be read, which takes longer than all the rest; it is not called for
// others. The request is the caller's again when it returns.
func (x *Exchange) EndLater(res Result, later func(func())) {
	slo := x.set.workload.SLO.Latency
	c := observe.Completion{
		Failed:       res.Failed,
		SLOViolated:  res.Failed || res.Aborted && res.Late || !res.Aborted && slo > 0 && res.Latency > slo,
		Blind:        res.Blind,
		RequestBytes: res.RequestBytes, ResponseBytes: res.ResponseBytes, Latency: res.Latency,
	}
	x.settle(res)
	switch {
	case x.drop != "":
		x.tap.book.Drop(x.drop, 1)
		x.release()
	case later != nil && x.answer.kept():
		x.request = x.request.Clone(context.Background())
		later(func() {
			if x.copy(res) {
				x.tap.accumulator.Copy(x.stratum)
			}
		})
	default:
		c.Sampled = x.copy(res)
	}
	x.tap.accumulator.Complete(x.stratum, c)
}

// settle decides whether there is still to be a copy.
func (x *Exchange) settle(res Result) {
	defer x.contain()
	whole := x.whole(res)
	if x.drawn && whole == "" {
		x.see(res)
	}
	if x.drop == "" {
		x.drop = whole
	}
	if x.drop == "" && x.capture.isLost() {
		x.drop = ReasonRoom
	}
	if x.drop == "" && !x.tap.sampler.Admit(time.Now(), res.RequestBytes) {
		x.drop = ReasonCap
	}
}

// copy makes the copy, and reports whether it was taken.
func (x *Exchange) copy(res Result) (taken bool) {
	defer x.release()
	e, made := x.make(res)
	if !made {
		x.tap.book.Drop(x.drop, 1)
		return false
	}
	return x.tap.hand(e)
}

// release forgets the bodies.
func (x *Exchange) release() {
	x.answer.release()
	x.capture.release()
}

// make is event that survives a fault.
func (x *Exchange) make(res Result) (e kafka.Event[*foreshadowv1.CapturedRequest], made bool) {
	defer x.contain()
	return x.event(res), true
}

// whole says why a copy would not be the request that production got; "" when it would.
func (x *Exchange) whole(res Result) string {
	switch {
	case res.Upgraded:
		return ReasonUpgrade
	case res.Lost != "":
		return res.Lost
	case !res.BodyRead:
		return ReasonBody
	}
	return ""
}

// see tells the sampler of a request that might have been copied.
func (x *Exchange) see(res Result) {
	seconds := res.Latency.Seconds()
	if res.Blind || res.Latency < 0 {
		seconds = -1
	}
	x.tap.sampler.See(sample.Seen{
		Draw: x.draw, Stratum: x.stratum, Base: x.rule.ratio, Bytes: res.RequestBytes, Seconds: seconds,
	})
}

// hand moves an item from the tap's book to the publisher's.
func (t *Tap) hand(e kafka.Event[*foreshadowv1.CapturedRequest]) bool {
	t.handing.RLock()
	defer t.handing.RUnlock()
	taken := t.publisher.PublishEvent(e)
	t.book.Pass(1)
	return taken
}

// event is the redacted copy. Nothing of the request leaves but what is set here.
func (x *Exchange) event(res Result) kafka.Event[*foreshadowv1.CapturedRequest] {
	r, set := x.request, x.set
	name, session := set.workload.Name, set.sampler.Pseudonym("session", x.session)
	m := &foreshadowv1.CapturedRequest{
		Workload: name, Session: session, ArriveTime: timestamppb.New(x.arrive),
		Method: r.Method, Target: set.redactor.Target(r.URL), Host: set.redactor.Host(r.Host), Protocol: fmt.Sprintf("HTTP/%d.%d", r.ProtoMajor, r.ProtoMinor),
		Headers:         set.redactor.Headers(r.Header),
		BodyDisposition: foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE, BodySizeBytes: res.RequestBodyBytes,
		Stratum: metric.StratumProto(x.stratum), Weight: 1 / x.probability,
		ResponseStatus: int32(res.Status), ResponseSizeBytes: res.ResponseBodyBytes, ResponseLatencySeconds: max(res.Latency, 0).Seconds(),
		ClientNetwork: redact.Network(set.address(r)),
	}
	if x.capture != nil {
		x.capture.fill(m, set.redactor, r.Header.Get("Content-Type"))
	}
	x.describe(m, res)
	return kafka.Event[*foreshadowv1.CapturedRequest]{
		Key: name + "/" + session, Message: m, Time: x.arrive, Traceparent: traceparent(r.Header),
	}
}

// traceparent passes on a W3C trace context, and nothing that merely stands in its place.
func traceparent(h http.Header) string {
	v := h.Get("Traceparent")
	if len(v) != len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00") {
		return ""
	}
	for i := range len(v) {
		switch i {
		case 2, 35, 52:
			if v[i] != '-' {
				return ""
			}
		default:
			if (v[i] < '0' || v[i] > '9') && (v[i] < 'a' || v[i] > 'f') {
				return ""
			}
		}
	}
	return v
}
