package shadowrunner_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// shop answers as production does, but for what is missing in it: a price, an own page for errors, and a list of users.
func shop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/items":
		_, _ = io.WriteString(w, `{"items":[{"id":1}]}`)
	case "/zipped":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"items":[{"id":1}]}`)
		_ = z.Close()
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>an error</html>")
	case "/large":
		_, _ = io.WriteString(w, `{"items":["`+strings.Repeat("x", bodyshape.MaxBytes)+`"]}`)
	default:
		_, _ = io.WriteString(w, `{"items":[{"id":2,"price":1.5}]}`)
	}
}

// TestDifferencesOfShapes replays requests whose answers production gave another shape.
func TestDifferencesOfShapes(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(shop))
	t.Cleanup(server.Close)
	r := start(t, referencetest.New(t, 10, 0), asIs)
	r.platform.set("shop-shadow", ready("a", strings.TrimPrefix(server.URL, "http://")))
	shape, err := bodyshape.Read("", []byte(`{"items":[{"id":7,"price":2.5}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const each = 60
	paths := []string{"/items", "/zipped", "/page", "/large", "/same", "/unknown"}
	ask := func(round int) {
		var batch []kafka.RawMessage
		for i := range each * len(paths) {
			path := paths[i%len(paths)]
			batch = append(batch, r.event(fmt.Sprint("s", round, i%10), path, func(e *foreshadowv1.CapturedRequest) {
				e.ResponseStatus, e.ResponseSizeBytes, e.ResponseContentType, e.ResponseShape = 200, 30, "application/json", shape.Proto()
				if path == "/unknown" {
					e.ResponseContentType, e.ResponseShape, e.ResponseShapeReason = "", nil, "unseen"
				}
			}))
		}
		r.send(batch...)
	}
	line := func(field string) string {
		return `foreshadow_shadow_runner_response_difference_ratio{field="` + field + `",workload="shop"} `
	}
	wanted := map[string][]string{
		"/metrics": {
			line("shape") + "1\n", line("type") + "1\n", line("status") + "0\n", line("size") + "1\n", `response_shapes_total{outcome="compared"`,
			`response_shapes_total{outcome="production_unknown"`, `response_shapes_total{outcome="shadow_unknown"`,
		},
		"/differences": {
			`{"route":"GET /items","kind":"shape","path":"$.items[].price","how":["missing"],"compared":`, `"raw_ratio":1,"noise_ratio":0}`,
			`{"route":"GET /zipped","kind":"shape","path":"$.items[].price"`, `{"route":"GET /page","kind":"type","how":["text/html, want application/json"],`,
		},
	}
	missing := func() string {
		for path, list := range wanted {
			page := r.page(path)
			for _, want := range list {
				if !strings.Contains(page, want) {
					return want
				}
			}
		}
		return ""
	}
	var asked time.Time
	r.await("all differences", func() bool {
		if time.Since(asked) > 5*time.Second { // again, should a busy machine have dropped too many as late
			asked = time.Now()
			ask(asked.Nanosecond())
		}
		return missing() == ""
	})
	for _, route := range []string{"/same", "/unknown", "/large"} {
		if page := r.page("/differences"); strings.Contains(page, `"GET `+route+`","kind":"shape`) {
			t.Errorf("%s differs: %s", route, page)
		}
	}
}

// page is one of the admin listener's.
func (r *rig) page(path string) string {
	rec := httptest.NewRecorder()
	r.admin.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Body.String()
}
