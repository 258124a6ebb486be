// Package captured turns the copy of a production request into one that can be sent again: parsed once, marked as shadow
// traffic, and free of what belongs to one connection only.
package captured

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Request is a captured request, ready to be sent any number of times. It is never changed once it was handed on.
type Request struct {
	// Arrive is when production received it.
	Arrive time.Time
	// Session is the pseudonym of its session.
	Session string
	// Stratum is its class of traffic.
	Stratum traffic.Stratum
	// Weight is how many production requests it stands for; at least 1.
	Weight float64
	// Method is the HTTP method.
	Method string
	// HTTP2 says that it came to production by HTTP/2, GRPC that it is a call.
	HTTP2, GRPC bool
	// Production is what is known of production's answer; its Status is 0 when there was none.
	Production struct {
		Status int
		Bytes  uint64
		// Media is its type without parameters, and Shape that of its body; empty and nil when they are not known.
		Media string
		Shape *bodyshape.Shape
	}
	// Compare: the shadow's answer is to be compared with it.
	Compare bool
	// Complete is false when its body did not travel with it: it cannot be sent as it was.
	Complete bool

	target  *url.URL
	host    string
	header  http.Header
	body    []byte
	mark    string
	baggage string
}

// perConnection headers describe a connection or a framing that the copy does not have.
var perConnection = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	"Host", "Expect", "Traceparent", "Tracestate", traffic.ShadowHeader,
}

// Parse reads the wire form; an error says why the record can never be replayed.
func Parse(p *foreshadowv1.CapturedRequest) (*Request, error) {
	target, err := url.ParseRequestURI(p.GetTarget())
	switch {
	case err != nil:
		return nil, fmt.Errorf("parse target: %w", err)
	case target.Host != "" || p.GetTarget()[0] != '/':
		// An absolute target would choose its own host.
		return nil, fmt.Errorf("parse target: want a path")
	case !validMethod(p.GetMethod()):
		return nil, fmt.Errorf("parse method %q: want an HTTP token", p.GetMethod())
	case p.GetArriveTime().CheckValid() != nil:
		return nil, fmt.Errorf("parse arrive_time: %w", p.GetArriveTime().CheckValid())
	case math.IsNaN(p.GetWeight()) || math.IsInf(p.GetWeight(), 0):
		return nil, fmt.Errorf("parse weight: %v is no number of requests", p.GetWeight())
	}
	r := &Request{
		Arrive: p.GetArriveTime().AsTime(), Session: p.GetSession(), Stratum: metric.StratumFromProto(p.GetStratum()),
		Weight: max(1, p.GetWeight()), Method: p.GetMethod(), target: target, host: p.GetHost(), header: http.Header{},
		mark: p.GetWorkload(),
	}
	for _, h := range p.GetHeaders() {
		r.header.Add(h.GetName(), h.GetValue())
	}
	for _, name := range perConnection {
		r.header.Del(name)
	}
	r.Production.Status, r.Production.Bytes = int(p.GetResponseStatus()), uint64(max(0, p.GetResponseSizeBytes()))
	r.Production.Media = p.GetResponseContentType()
	if shape, err := bodyshape.FromProto(p.GetResponseShape()); err == nil {
		r.Production.Shape = shape // one that cannot be read is not known; the request is good all the same
	}
	r.HTTP2 = strings.HasPrefix(p.GetProtocol(), "HTTP/2")
	if r.GRPC = strings.HasPrefix(r.header.Get("Content-Type"), "application/grpc"); r.GRPC {
		r.header.Set("Te", "trailers") // without it servers refuse the call
	}
	r.baggage = traffic.ShadowBaggage + "=1"
	if b := r.header.Get("Baggage"); b != "" {
		r.baggage = b + "," + r.baggage
	}
	switch p.GetBodyDisposition() {
	case foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL:
		r.Complete, r.body = true, p.GetBody()
	default:
		r.Complete = p.GetBodySizeBytes() == 0
	}
	return r, nil
}

func validMethod(m string) bool {
	for i := range len(m) {
		if c := m[i]; c < 'A' || c > 'Z' {
			return false
		}
	}
	return m != ""
}

// Copy returns the request as the k-th copy of its session, which is another session: with its own key, and with pseudonyms
// of its own in the query, so that a cache does not know them.
func (r *Request) Copy(k int) *Request {
	c := *r
	c.Session = fmt.Sprintf("%s~%d", r.Session, k)
	target := *r.target
	parts := strings.Split(target.RawQuery, "&")
	for i, part := range parts {
		if name, value, _ := strings.Cut(part, "="); pseudonym.MatchString(value) {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s", k, value))
			parts[i] = name + "=" + base64.RawURLEncoding.EncodeToString(sum[:12])
		}
	}
	target.RawQuery = strings.Join(parts, "&")
	c.target = &target
	return &c
}

// pseudonym is a query value as the tap makes it: 16 characters of base64url.
var pseudonym = regexp.MustCompile(`^[A-Za-z0-9_-]{16}$`)

// Body is what is sent; it must not be changed.
func (r *Request) Body() []byte { return r.body }

// Size is about what the request keeps in memory, in bytes.
func (r *Request) Size() int { return 512 + int(r.WireBytes()) + fieldBytes*r.Production.Shape.Size() }

// fieldBytes is about what a field of a shape takes.
const fieldBytes = 200

// WireBytes is the size of head and body as they are sent, without the marks.
func (r *Request) WireBytes() uint64 {
	n := len(r.Method) + len(r.target.RequestURI()) + len(r.host) + len(" HTTP/1.1\r\nHost: \r\n\r\n") + len(r.body)
	for name, values := range r.header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return uint64(n)
}
