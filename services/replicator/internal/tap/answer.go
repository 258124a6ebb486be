package tap

import (
	"io"
	"math"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Reasons for which the shape of an answer is not known, besides the errors of bodyshape.
const (
	shapeUnseen     = "unseen"     // this way in sees no answers, or production gave none
	shapeOff        = "off"        // it is not asked for
	shapeType       = "type"       // it is no JSON
	shapeEmpty      = "empty"      // it has no body
	shapePartial    = "partial"    // it is a range of one
	shapeBudget     = "budget"     // the sample is being shed, and looking at answers comes before it
	shapeBusy       = "busy"       // enough answers are being looked at
	shapeIncomplete = "incomplete" // it ended early
)

const (
	// bunch is the part of a second's answers that may come at once.
	bunch = 5
	// answerBytes bounds what is kept of all answers on their way.
	answerBytes = 16 << 20
)

// answers bounds what describing answers costs: the shadow's are compared with few, and the work is production's.
type answers struct {
	limit *rate.Limiter
	room  room
}

func newAnswers(perSecond float64) *answers {
	return &answers{limit: rate.NewLimiter(rate.Limit(perSecond), burst(perSecond)), room: room{most: answerBytes}}
}

// configure sets how many are described per second.
func (a *answers) configure(perSecond float64) {
	a.limit.SetLimit(rate.Limit(perSecond))
	a.limit.SetBurst(burst(perSecond))
}

func burst(perSecond float64) int { return int(math.Ceil(min(perSecond, math.MaxInt32) / bunch)) }

// AnswerHead is what the head of an answer says of its body.
type AnswerHead struct {
	// Status, final.
	Status int
	// ContentType and Encoding are those headers; several codings are joined by commas.
	ContentType, Encoding string
	// Length of the body in bytes; negative when it is not known before.
	Length int64
}

// AnswerHeadOf reads the head of a response.
func AnswerHeadOf(res *http.Response) AnswerHead {
	return AnswerHead{
		Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), Encoding: strings.Join(res.Header["Content-Encoding"], ", "),
		Length: res.ContentLength,
	}
}

// answer keeps the body of production's answer while it streams by, and no longer than until it is described.
type answer struct {
	of       *answers
	head     AnswerHead
	reason   string // why it is not kept; empty when it is
	data     []byte
	reserved int64
}

// Answer tells the head of production's answer, and returns where its body is to be written as it streams by, or nil when it
// is not looked at. What is written is copied; the writer never errs.
func (x *Exchange) Answer(head AnswerHead) io.Writer {
	if x.drop != "" {
		return nil
	}
	a := &answer{of: x.tap.answers, head: head}
	x.answer = a
	if a.reason = x.skipsAnswer(head); a.reason != "" {
		return nil
	}
	room := head.Length
	if room < 0 {
		room = bodyshape.MaxBytes
	}
	if !a.of.limit.Allow() || !a.of.room.take(room) {
		a.reason = shapeBusy
		return nil
	}
	if a.reserved = room; head.Length > 0 {
		a.data = make([]byte, 0, head.Length)
	}
	return a
}

// skipsAnswer says why the body of an answer is not looked at; empty when it is.
func (x *Exchange) skipsAnswer(head AnswerHead) string {
	switch {
	case x.set.workload.Tap.AnswerShapes == 0:
		return shapeOff
	case head.Length == 0, x.request.Method == http.MethodHead, head.Status == http.StatusNoContent, head.Status == http.StatusNotModified:
		return shapeEmpty
	case head.Status == http.StatusPartialContent:
		return shapePartial
	case !bodyshape.IsJSON(head.ContentType):
		return shapeType
	case !bodyshape.Decodes(head.Encoding):
		return bodyshape.ErrEncoding.Error()
	case head.Length > bodyshape.MaxBytes:
		return bodyshape.ErrOversize.Error()
	case x.set.remaining() < 1:
		return shapeBudget
	}
	return ""
}

// kept reports whether there is something to read.
func (a *answer) kept() bool { return a != nil && a.reason == "" }

// Write implements io.Writer; it never errs.
func (a *answer) Write(p []byte) (int, error) {
	switch {
	case a.reason != "":
	case len(a.data)+len(p) > bodyshape.MaxBytes:
		a.reason = bodyshape.ErrOversize.Error()
		a.release()
	default:
		a.data = append(a.data, p...)
	}
	return len(p), nil
}

// release forgets the body.
func (a *answer) release() {
	if a != nil {
		a.of.room.give(a.reserved)
		a.data, a.reserved = nil, 0
	}
}

// describe puts into the copy what it may say of the answer.
func (x *Exchange) describe(m *foreshadowv1.CapturedRequest, res Result) {
	a := x.answer
	if a == nil || res.Blind {
		m.ResponseShapeReason = shapeUnseen
		return
	}
	m.ResponseContentType = x.set.redactor.Media(a.head.ContentType)
	switch {
	case a.reason != "":
		m.ResponseShapeReason = a.reason
	case res.Cut || res.Aborted:
		m.ResponseShapeReason = shapeIncomplete
	default:
		shape, err := bodyshape.Read(a.head.Encoding, a.data)
		if err != nil {
			m.ResponseShapeReason = err.Error()
			return
		}
		m.ResponseShape = x.set.vocabulary.Describe(x.stratum.Route, x.session, shape).Proto()
	}
}
