package trace_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
)

func TestEmbeddedDataIsWhole(t *testing.T) {
	t.Parallel()
	pace, err := trace.LoadPace()
	if err != nil {
		t.Fatal(err)
	}
	if days := len(pace.Values) / 120; days != 11 {
		t.Errorf("%d days of pace, want 11", days)
	}
	for i, v := range pace.Values {
		if !(v > 0) {
			t.Errorf("step %d is %v", i, v)
		}
	}
	requests, err := trace.LoadRequests()
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]bool{}
	for i, r := range requests {
		clients[r.Client] = true
		if _, err := url.ParseRequestURI(r.Target); err != nil || r.Status >= 500 || r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.Errorf("line %d: %+v, %v", i+1, r, err)
		}
	}
	if len(requests) < 1000 || len(clients) < 100 {
		t.Errorf("%d requests of %d clients are too few for a mix", len(requests), len(clients))
	}
}
