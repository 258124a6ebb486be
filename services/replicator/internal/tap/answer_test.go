package tap_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

const jsonType = "application/json; charset=utf-8"

// answered takes a request of a session through the tap, with production's answer, and returns the copy.
func answered(t testing.TB, tapped *tap.Tap, p *topic, r *http.Request, head tap.AnswerHead, body string, res tap.Result) *foreshadowv1.CapturedRequest {
	t.Helper()
	x := tapped.Begin(r, time.Now())
	if w := x.Answer(head); w != nil {
		for _, piece := range strings.SplitAfter(body, ",") {
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		}
	}
	res.Status, res.BodyRead = head.Status, true
	x.End(res)
	return p.events[len(p.events)-1].Message
}

func TestAnAnswerIsDescribed(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.RedactPatterns, cfg.Workload.Tap.AnswerShapes = []string{"^internal"}, 1e6
	tapped := build(t, cfg)
	body := `{"id":7,"tags":["x"],"internalNote":"s3cret","ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":1}`
	var m *foreshadowv1.CapturedRequest
	for i := range 4 {
		m = answered(t, tapped, p, get(fmt.Sprint(i), "/items/1"), tap.AnswerHead{Status: 200, ContentType: jsonType, Length: int64(len(body))}, body, tap.Result{})
	}
	scalar := func(types ...foreshadowv1.JsonType) *foreshadowv1.BodyShape {
		return &foreshadowv1.BodyShape{Types: types}
	}
	want := &foreshadowv1.BodyShape{
		Types: []foreshadowv1.JsonType{foreshadowv1.JsonType_JSON_TYPE_OBJECT},
		Fields: []*foreshadowv1.BodyField{
			{Name: "id", Shape: scalar(foreshadowv1.JsonType_JSON_TYPE_NUMBER)},
			{Name: "tags", Shape: scalar(foreshadowv1.JsonType_JSON_TYPE_ARRAY)},
		},
		Rest: scalar(foreshadowv1.JsonType_JSON_TYPE_STRING, foreshadowv1.JsonType_JSON_TYPE_NUMBER),
	}
	want.Fields[1].Shape.Items = scalar(foreshadowv1.JsonType_JSON_TYPE_STRING)
	if diff := cmp.Diff(want, m.GetResponseShape(), protocmp.Transform()); diff != "" {
		t.Errorf("shape (-want +got):\n%s", diff)
	}
	if m.GetResponseContentType() != "application/json" || m.GetResponseShapeReason() != "" {
		t.Errorf("type %q, reason %q", m.GetResponseContentType(), m.GetResponseShapeReason())
	}
	// What was learnt holds over a reload, unless the patterns are other ones.
	head := tap.AnswerHead{Status: 200, ContentType: jsonType, Length: -1}
	if err := tapped.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if m = answered(t, tapped, p, get("5", "/items/1"), head, body, tap.Result{}); len(m.GetResponseShape().GetFields()) != 2 {
		t.Errorf("after a reload %v", m.GetResponseShape())
	}
	cfg.Workload.Tap.RedactPatterns = []string{"tags"}
	if err := tapped.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		m = answered(t, tapped, p, get(fmt.Sprint(i), "/items/1"), head, body, tap.Result{})
		if strings.Contains(fmt.Sprint(m.GetResponseShape()), "tags") {
			t.Fatalf("a name that a new pattern matches: %v", m.GetResponseShape())
		}
	}
}

func TestWhyAShapeIsNotKnown(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.AnswerShapes = 1e6
	var share atomic.Int64
	share.Store(100)
	cfg.Share = func() float64 { return float64(share.Load()) / 100 }
	tapped := build(t, cfg)
	ok := tap.AnswerHead{Status: 200, ContentType: jsonType, Length: -1}
	with := func(edit func(*tap.AnswerHead)) tap.AnswerHead { h := ok; edit(&h); return h }
	for name, c := range map[string]struct {
		method string
		head   tap.AnswerHead
		body   string
		res    tap.Result
		want   string
	}{
		"HEAD":         {"HEAD", with(func(h *tap.AnswerHead) { h.Length = 100 }), "", tap.Result{}, "empty"},
		"no content":   {"GET", with(func(h *tap.AnswerHead) { h.Status, h.Length = 204, 0 }), "", tap.Result{}, "empty"},
		"not modified": {"GET", with(func(h *tap.AnswerHead) { h.Status = 304 }), "", tap.Result{}, "empty"},
		"no length":    {"GET", ok, "", tap.Result{}, "unreadable"},
		"a range":      {"GET", with(func(h *tap.AnswerHead) { h.Status = 206 }), "{}", tap.Result{}, "partial"},
		"a page":       {"GET", with(func(h *tap.AnswerHead) { h.ContentType = "text/html" }), "{}", tap.Result{}, "type"},
		"no type":      {"GET", with(func(h *tap.AnswerHead) { h.ContentType = "" }), "{}", tap.Result{}, "type"},
		"a stream":     {"GET", with(func(h *tap.AnswerHead) { h.ContentType = "text/event-stream" }), "data: {}", tap.Result{}, "type"},
		"gRPC":         {"POST", with(func(h *tap.AnswerHead) { h.ContentType = "application/grpc+json" }), "{}", tap.Result{}, "type"},
		"brotli":       {"GET", with(func(h *tap.AnswerHead) { h.Encoding = "br" }), "{}", tap.Result{}, "encoding"},
		"long":         {"GET", with(func(h *tap.AnswerHead) { h.Length = bodyshape.MaxBytes + 1 }), "{}", tap.Result{}, "oversize"},
		"gets long":    {"GET", ok, "[" + strings.Repeat("1,", bodyshape.MaxBytes/2) + "1]", tap.Result{}, "oversize"},
		"broken":       {"GET", ok, `{"a":`, tap.Result{}, "unreadable"},
		"cut":          {"GET", ok, `1`, tap.Result{Cut: true}, "incomplete"},
		"aborted":      {"GET", ok, `1`, tap.Result{Aborted: true}, "incomplete"},
		"blind":        {"GET", ok, `1`, tap.Result{Blind: true}, "unseen"},
		"a failure":    {"GET", with(func(h *tap.AnswerHead) { h.Status = 500 }), `{"error":"x"}`, tap.Result{Failed: true}, ""},
	} {
		r := get("s", "/")
		r.Method = c.method
		cfg.Workload.Tap.Methods = []string{"GET", "HEAD", "POST"}
		if err := tapped.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		m := answered(t, tapped, p, r, c.head, c.body, c.res)
		if m.GetResponseShapeReason() != c.want || (m.GetResponseShape() != nil) != (c.want == "") {
			t.Errorf("%s: reason %q, want %q, shape %v", name, m.GetResponseShapeReason(), c.want, m.GetResponseShape())
		}
	}
	// A way in that says nothing of answers, and a sample that is being shed.
	if m := describedAs(t, tapped, p, nil); m != "unseen" {
		t.Errorf("without an answer: %s", m)
	}
	share.Store(99)
	if m := describedAs(t, tapped, p, &ok); m != "budget" {
		t.Errorf("a sample that is shed: %s", m)
	}
	share.Store(100)
	cfg.Workload.Tap.AnswerShapes = 0
	if err := tapped.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if m := describedAs(t, tapped, p, &ok); m != "off" {
		t.Errorf("switched off: %s", m)
	}
}

// describedAs is the reason that the copy of a request of some session gives.
func describedAs(t testing.TB, tapped *tap.Tap, p *topic, head *tap.AnswerHead) string {
	t.Helper()
	for i := 0; ; i++ {
		x := tapped.Begin(get(fmt.Sprint("s", i), "/"), time.Now())
		if head != nil {
			if w := x.Answer(*head); w != nil {
				_, _ = w.Write([]byte("1"))
			}
		}
		sampled := x.Sampled()
		x.End(tap.Result{Status: 200, BodyRead: true})
		if sampled {
			return p.events[len(p.events)-1].Message.GetResponseShapeReason()
		}
	}
}

func TestOnlyCopiesAreLookedAt(t *testing.T) {
	t.Parallel()
	tapped := build(t, config(&topic{}, 0))
	x := tapped.Begin(get("s", "/"), time.Now())
	if w := x.Answer(tap.AnswerHead{Status: 200, ContentType: jsonType, Length: 10}); w != nil {
		t.Error("the answer to a request outside of the sample is looked at")
	}
	x.End(tap.Result{Status: 200, BodyRead: true})
}

// TestAnswersAreBounded has many answers on their way at once, and too many in a moment.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	cfg.Workload.Tap.AnswerShapes = 1e9
	tapped := build(t, cfg)
	open := make([]*tap.Exchange, 400)
	kept := 0
	head := tap.AnswerHead{Status: 200, ContentType: jsonType, Length: -1}
	for i := range open {
		open[i] = tapped.Begin(get("s", "/"), time.Now())
		if w := open[i].Answer(head); w != nil {
			kept++
		}
	}
	if kept != 16<<20/bodyshape.MaxBytes {
		t.Errorf("%d answers are kept at once", kept)
	}
	for _, x := range open {
		x.End(tap.Result{Status: 200, BodyRead: true})
	}
	if m := answered(t, tapped, p, get("s", "/"), head, "1", tap.Result{}); m.GetResponseShape() == nil {
		t.Errorf("room was not given back: %s", m.GetResponseShapeReason())
	}
	cfg.Workload.Tap.AnswerShapes = 0.001 // one, and the next long after
	if err := tapped.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	answered(t, tapped, p, get("s", "/"), head, "1", tap.Result{})
	if m := answered(t, tapped, p, get("s", "/"), head, "1", tap.Result{}); m.GetResponseShapeReason() != "busy" {
		t.Errorf("the second: %v", m)
	}
}

// TestCopiesThatAreMadeLater: the request is complete at once, its copy, and all that is said of copies, comes later, and is of
// the request as it was. Copies without an answer to be read do not wait.
func TestCopiesThatAreMadeLater(t *testing.T) {
	t.Parallel()
	p := &topic{}
	cfg := config(p, 1)
	tapped := build(t, cfg)
	r := httptest.NewRequest(http.MethodGet, "/before", nil)
	r.Header.Set("Accept", "before")
	var waiting []func()
	later := func(f func()) { waiting = append(waiting, f) }
	tapped.Begin(r, time.Now()).EndLater(tap.Result{Status: 200, BodyRead: true}, later)
	x := tapped.Begin(r, time.Now())
	_, _ = x.Answer(tap.AnswerHead{Status: 200, ContentType: jsonType, Length: 2}).Write([]byte("{}"))
	x.EndLater(tap.Result{Status: 200, BodyRead: true}, later)
	r.URL.Path = "/after"
	r.Header.Set("Accept", "after")
	if l := tapped.Ledger(); len(waiting) != 1 || len(p.events) != 1 || cfg.Accumulator.InFlight() != 0 || !l.Balanced() || l.Pending != 2 {
		t.Fatalf("%d wait, %d were made, %d are in flight, ledger %+v", len(waiting), len(p.events), cfg.Accumulator.InFlight(), l)
	}
	waiting[0]()
	if m := p.events[1].Message; m.GetTarget() != "/before" || m.GetHeaders()[0].GetValue() != "before" || m.GetResponseShape() == nil {
		t.Errorf("copy %v", m)
	}
	var sampled, responses uint64
	for _, s := range cfg.Accumulator.TakeAll() {
		sampled += s.Strata.Total().Sampled
		responses += s.Strata.Total().Responses
	}
	if l := tapped.Ledger(); sampled != 2 || responses != 2 || !l.Balanced() || l.Pending != 2 {
		t.Errorf("%d sampled, %d responses, ledger %+v", sampled, responses, l)
	}
}
