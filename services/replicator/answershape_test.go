package replicator_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// described are answers of instances, and why their shape is not known; empty for those whose shape is.
func described(t *testing.T) map[string]struct{ answer, reason string } {
	t.Helper()
	const date = "Date: Fri, 27 Nov 2026 16:00:00 GMT\r\n"
	const dated, typed = "HTTP/1.1 200 OK\r\n" + date, "Content-Type: application/json\r\n"
	document := `{"items":[{"id":1,"price":2.5},{"id":2,"price":null}],"next":"x"}`
	large := `{"items":[` + strings.Repeat(`{"id":1,"name":"something"},`, 2000) + `1]}`
	length := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(w, document)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]struct{ answer, reason string }{
		"plain":             {dated + typed + length(document), ""},
		"large":             {dated + typed + length(large), ""},
		"a failure":         {"HTTP/1.1 503 Busy\r\n" + date + typed + length(`{"error":"x"}`), ""},
		"zipped":            {dated + typed + "Content-Encoding: gzip\r\n" + length(zipped.String()), ""},
		"chunked":           {dated + typed + "Transfer-Encoding: chunked\r\n\r\n9\r\n{\"items\":\r\n3\r\n[1]\r\n1;x=y\r\n}\r\n0\r\n\r\n", ""},
		"trailers":          {dated + typed + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 9\r\n\r\n", ""},
		"until the end":     {dated + typed + "\r\n" + document, ""},
		"hints before":      {"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + dated + typed + length(document), ""},
		"brotli":            {dated + typed + "Content-Encoding: br\r\n" + length("xyz"), "encoding"},
		"twice coded":       {dated + typed + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n" + length(zipped.String()), "encoding"},
		"a page":            {dated + "Content-Type: text/html\r\n" + length("<html>"), "type"},
		"no type":           {dated + length(document), "type"},
		"an event stream":   {dated + "Content-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\n", "type"},
		"a page as JSON":    {dated + typed + length("<html>"), "unreadable"},
		"empty":             {dated + typed + length(""), "empty"},
		"no content":        {"HTTP/1.1 204 No Content\r\n" + date + typed + "\r\n", "empty"},
		"huge":              {dated + typed + length(large+strings.Repeat(" ", 1<<20)), "oversize"},
		"huge and chunked":  {dated + typed + "Transfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat(" ", 1<<17) + "\r\n2\r\n{}\r\n0\r\n\r\n", "oversize"},
		"half a body":       {dated + typed + "Content-Length: 100\r\n\r\n{}", "incomplete"},
		"half a large body": {dated + typed + "Content-Length: 60000\r\n\r\n" + strings.Repeat(" ", 50_000) + "{}", "incomplete"},
		"half a chunk":      {dated + typed + "Transfer-Encoding: chunked\r\n\r\n9\r\n{}", "incomplete"},
		"no answer":         {"", "unseen"},
	}
}

// TestDescribedAnswersArriveUnchanged: a client hears the same from a replicator that looks at answers as from one that does
// not, on both ways, and the copies say what they know.
func TestDescribedAnswersArriveUnchanged(t *testing.T) {
	t.Parallel()
	cases := described(t)
	var names, list []string
	for name, c := range cases {
		names, list = append(names, name), append(list, c.answer)
	}
	bothWays(t, func(t *testing.T, o options) {
		hearAll := func(perSecond float64) (all []heard, copies map[string]*foreshadowv1.CapturedRequest) {
			o.workload = func(w *workload.Workload) { w.Tap.AnswerShapes = perSecond }
			r := start(t, o)
			r.platform.set(ready("scripted", scripted(t, list)))
			for i := range list {
				all = append(all, hear(t, strings.TrimPrefix(r.url, "http://"), i))
			}
			copies = map[string]*foreshadowv1.CapturedRequest{}
			for _, m := range r.captured() {
				var n int
				_, _ = fmt.Sscanf(m.GetTarget(), "/%d", &n)
				copies[names[n]] = m
			}
			return all, copies
		}
		without, blind := hearAll(0)
		with, seeing := hearAll(1e6)
		for i, name := range names {
			if diff := cmp.Diff(without[i], with[i]); diff != "" {
				t.Errorf("%s (-not looked at +looked at):\n%s", name, diff)
			}
		}
		for name, c := range cases {
			m := seeing[name]
			if m.GetResponseShapeReason() != c.reason || (m.GetResponseShape() != nil) != (c.reason == "") {
				t.Errorf("%s: reason %q, want %q; shape %v", name, m.GetResponseShapeReason(), c.reason, m.GetResponseShape())
			}
			if b := blind[name]; b == nil || b.GetResponseShape() != nil || c.reason != "unseen" && b.GetResponseShapeReason() != "off" {
				t.Errorf("%s, not looked at: %v", name, b)
			}
		}
		if kind := seeing["a page"].GetResponseContentType(); kind != "text/html" {
			t.Errorf("a page of type %q", kind)
		}
	})
}

// TestShapesOfManySessions: names travel once several sessions' answers have them, over HTTP/1.1 and HTTP/2.
func TestShapesOfManySessions(t *testing.T) {
	t.Parallel()
	r := start(t, options{workload: func(w *workload.Workload) { w.Tap.AnswerShapes = 1e6 }})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":7,%q:{"age":30}}`, req.URL.Query().Get("user"))
		if req.URL.Path == "/streamed" {
			_ = http.NewResponseController(w).Flush()
		}
	}))
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	second := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer second.CloseIdleConnections()
	const sessions = 10
	for path, client := range map[string]*http.Client{"/plain": r.client, "/streamed": r.client, "/second": second} {
		for i := range sessions {
			req := request(t, http.MethodGet, fmt.Sprintf("%s%s?user=user%s", r.url, path, string(rune('a'+i))), "")
			req.Header.Set("Cookie", fmt.Sprint("sid=", i))
			if code, body := do(t, client, req); code != http.StatusOK || !strings.HasPrefix(body, `{"id":7,"user`) {
				t.Errorf("%s: %d %q", path, code, body)
			}
		}
	}
	named := map[string]int{}
	for _, m := range r.captured() {
		for _, f := range m.GetResponseShape().GetFields() {
			path, _, _ := strings.Cut(m.GetTarget(), "?")
			named[path+" "+f.GetName()]++
		}
		if m.GetResponseShape().GetRest() == nil {
			t.Errorf("%s: %v", m.GetTarget(), m.GetResponseShape())
		}
	}
	want := map[string]int{"/plain id": sessions - 2, "/streamed id": sessions - 2, "/second id": sessions - 2}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("copies that name a field (-want +got):\n%s", diff)
	}
}
