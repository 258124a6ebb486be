package captured_test

import (
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

func event() *foreshadowv1.CapturedRequest {
	return &foreshadowv1.CapturedRequest{
		Workload: "shop", Session: "s", ArriveTime: timestamppb.New(time.Unix(1000, 0)), Method: "POST",
		Target: "/search%2Fall?q=blue%20hat", Host: "shop.example", Weight: 4,
		Headers: []*foreshadowv1.Header{
			{Name: "Accept", Value: "text/html"}, {Name: "Accept", Value: "*/*"}, {Name: "connection", Value: "close"},
			{Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Host", Value: "evil.example"}, {Name: "Baggage", Value: "k=v"},
			{Name: "Traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, {Name: "Foreshadow-Shadow", Value: "other"},
		},
		BodyDisposition: foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL, Body: []byte("hello"), BodySizeBytes: 5,
	}
}

func TestRequestIsMarkedAndGoesWhereItIsSent(t *testing.T) {
	t.Parallel()
	r, err := captured.Parse(event())
	if err != nil {
		t.Fatal(err)
	}
	first := r.HTTP(t.Context(), "127.0.0.1:4001")
	second := r.HTTP(t.Context(), "127.0.0.1:4002")
	if first.URL.String() != "http://127.0.0.1:4001/search%2Fall?q=blue%20hat" || first.Host != "shop.example" || second.URL.Host != "127.0.0.1:4002" {
		t.Errorf("goes to %v as %v, then %v", first.URL, first.Host, second.URL)
	}
	want := map[string]string{
		"Foreshadow-Shadow": "shop", "Baggage": "k=v,foreshadow-shadow=1", "User-Agent": "", "Connection": "", "Transfer-Encoding": "", "Host": "",
	}
	for name, value := range want {
		if got := first.Header.Get(name); got != value {
			t.Errorf("header %s = %q, want %q", name, got, value)
		}
	}
	if diff := cmp.Diff([]string{"text/html", "*/*"}, first.Header.Values("Accept")); diff != "" {
		t.Errorf("Accept (-want +got):\n%s", diff)
	}
	if !traffic.IsShadow(first.Header) {
		t.Error("the tap would not know it")
	}
	a, b := first.Header.Get("Traceparent"), second.Header.Get("Traceparent")
	if a == b || len(a) != 55 || !strings.HasPrefix(a, "00-") || !strings.HasSuffix(a, "-00") || strings.Contains(a, "0af7651916cd43dd") {
		t.Errorf("traceparents %q and %q, want two new traces that are not recorded", a, b)
	}
	for _, req := range []io.Reader{first.Body, second.Body} {
		if body, err := io.ReadAll(req); err != nil || string(body) != "hello" {
			t.Errorf("body %q, %v", body, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit     func(*foreshadowv1.CapturedRequest)
		complete bool
		err      string
	}{
		"whole body":        {func(*foreshadowv1.CapturedRequest) {}, true, ""},
		"absolute target":   {func(p *foreshadowv1.CapturedRequest) { p.Target = "http://prod.example/" }, false, "want a path"},
		"authority target":  {func(p *foreshadowv1.CapturedRequest) { p.Target = "//prod.example/x" }, true, ""},
		"no target":         {func(p *foreshadowv1.CapturedRequest) { p.Target = "" }, false, "parse target"},
		"method with space": {func(p *foreshadowv1.CapturedRequest) { p.Method = "GET /" }, false, "parse method"},
		"no method":         {func(p *foreshadowv1.CapturedRequest) { p.Method = "" }, false, "parse method"},
		"no time":           {func(p *foreshadowv1.CapturedRequest) { p.ArriveTime = nil }, false, "arrive_time"},
		"prefix of a body": {func(p *foreshadowv1.CapturedRequest) {
			p.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_PREFIX
		}, false, ""},
		"endless weight": {func(p *foreshadowv1.CapturedRequest) { p.Weight = math.Inf(1) }, false, "parse weight"},
		"weight of NaN":  {func(p *foreshadowv1.CapturedRequest) { p.Weight = math.NaN() }, false, "parse weight"},
		"no body": {func(p *foreshadowv1.CapturedRequest) {
			p.BodyDisposition, p.Body, p.BodySizeBytes = foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE, nil, 0
		}, true, ""},
		"body left behind": {func(p *foreshadowv1.CapturedRequest) {
			p.BodyDisposition, p.Body = foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE, nil
		}, false, ""},
	}
	for name, tc := range tests {
		p := event()
		tc.edit(p)
		r, err := captured.Parse(p)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: error %v, want %q", name, err, tc.err)
			continue
		}
		if err != nil {
			continue
		}
		if r.Complete != tc.complete {
			t.Errorf("%s: complete %v, want %v", name, r.Complete, tc.complete)
		}
		if req := r.HTTP(t.Context(), "127.0.0.1:1"); req.URL.Host != "127.0.0.1:1" {
			t.Errorf("%s: goes to %v", name, req)
		}
	}
}

func TestWhatIsKnownOfProductionsAnswer(t *testing.T) {
	t.Parallel()
	shape, err := bodyshape.Read("", []byte(`{"id":1,"tags":["x"]}`))
	if err != nil {
		t.Fatal(err)
	}
	e := event()
	without, err := captured.Parse(e)
	if err != nil || without.Production.Shape != nil || without.Production.Media != "" || without.Production.Status != 0 {
		t.Errorf("%+v, %v", without.Production, err)
	}
	e.ResponseStatus, e.ResponseSizeBytes, e.ResponseContentType, e.ResponseShape = 200, 20, "application/json", shape.Proto()
	with, err := captured.Parse(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shape, with.Production.Shape, cmpopts.IgnoreUnexported(bodyshape.Shape{})); diff != "" {
		t.Errorf("shape (-want +got):\n%s", diff)
	}
	if p := with.Production; p.Status != 200 || p.Bytes != 20 || p.Media != "application/json" || with.Size() <= without.Size() {
		t.Errorf("%+v, %d bytes, %d without", p, with.Size(), without.Size())
	}
	for range 30 { // deeper than any that is published
		e.ResponseShape = &foreshadowv1.BodyShape{Items: e.ResponseShape}
	}
	if hostile, err := captured.Parse(e); err != nil || hostile.Production.Shape != nil || hostile.Production.Status != 200 {
		t.Errorf("%+v, %v", hostile, err)
	}
}

func TestACopyIsAnotherSessionWithItsOwnKeys(t *testing.T) {
	t.Parallel()
	e := event()
	e.Target = "/search?q=abcdefghijklmn_-&page=2&longer=abcdefghijklmnopq"
	r, err := captured.Parse(e)
	if err != nil {
		t.Fatal(err)
	}
	query := func(r *captured.Request) string {
		req := r.HTTP(t.Context(), "127.0.0.1:1")
		return req.URL.RawQuery
	}
	one, again, two := r.Copy(1), r.Copy(1), r.Copy(2)
	if one.Session == r.Session || one.Session == two.Session || one.Session != again.Session {
		t.Errorf("sessions %q %q %q %q", r.Session, one.Session, again.Session, two.Session)
	}
	if query(one) == query(r) || query(one) == query(two) || query(one) != query(again) || query(r) != "q=abcdefghijklmn_-&page=2&longer=abcdefghijklmnopq" {
		t.Errorf("queries %q %q %q %q", query(r), query(one), query(again), query(two))
	}
	if !strings.HasSuffix(query(one), "&page=2&longer=abcdefghijklmnopq") || len(query(one)) != len(query(r)) {
		t.Errorf("the copy asks for %q: only pseudonyms are to be other ones", query(one))
	}
}

func FuzzParse(f *testing.F) {
	seed, err := proto.Marshal(event())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p foreshadowv1.CapturedRequest
		if proto.Unmarshal(data, &p) != nil {
			return
		}
		r, err := captured.Parse(&p)
		if err != nil {
			return
		}
		req := r.HTTP(t.Context(), "127.0.0.1:4001")
		if req.URL.Host != "127.0.0.1:4001" || req.URL.Scheme != "http" || !traffic.IsShadow(req.Header) {
			t.Errorf("%q goes to %v", p.GetTarget(), req.URL)
		}
	})
}
