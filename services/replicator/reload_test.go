package replicator_test

import (
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// TestReloadDropsNoConnection changes sampling and redaction under a client whose one connection stays.
func TestReloadDropsNoConnection(t *testing.T) {
	t.Parallel()
	var cfg replicator.Config
	var w workload.Workload
	r := start(t, options{config: func(c *replicator.Config) { cfg = *c }, workload: func(x *workload.Workload) { w = *x }})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) {}))
	dials := 0
	get := func(target string) {
		t.Helper()
		req := request(t, http.MethodGet, r.url+target, "")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) {
				if !i.Reused {
					dials++
				}
			},
		}))
		if code, _ := do(t, r.client, req); code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	}
	get("/a?q=blue")
	w.Tap.RedactQuery = nil
	if err := r.service.Reload(cfg, []workload.Workload{w}); err != nil {
		t.Fatal(err)
	}
	get("/b?q=blue")
	w.Tap.SampleRatio = 0
	if err := r.service.Reload(cfg, []workload.Workload{w}); err != nil {
		t.Fatal(err)
	}
	get("/c?q=blue")
	broken := cfg
	broken.MaxHeaderBytes = 1
	if err := r.service.Reload(broken, []workload.Workload{w}); err == nil || !strings.Contains(err.Error(), "max_header_bytes") {
		t.Errorf("a broken configuration: %v", err)
	}
	if err := r.service.Reload(cfg, nil); err == nil {
		t.Error("a configuration without the workload was taken")
	}
	get("/d?q=blue")
	targets := map[string]bool{}
	for _, c := range r.captured() {
		path, query, _ := strings.Cut(c.GetTarget(), "?")
		targets[path] = query == "q=blue"
	}
	if len(targets) != 2 || targets["/a"] || !targets["/b"] || dials != 1 {
		t.Errorf("copies %v over %d connections", targets, dials)
	}
	if l := r.ledger("replicator/tap"); l.Dropped["sampled_out"] != 2 || !l.Balanced() {
		t.Errorf("ledger %+v", l)
	}
}
