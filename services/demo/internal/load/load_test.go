package load_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/services/demo/internal/load"
	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryDueRequestIsSentAndCounted(t *testing.T) {
	t.Parallel()
	var got atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Add(1)
		if r.URL.Path == "/fail" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer srv.Close()
	g := load.New(load.Config{
		URL: srv.URL, Rate: []float64{200, 0}, SLOLatency: time.Minute, Timeout: time.Minute, Seed: 7,
		Requests: []trace.Request{{Method: "GET", Target: "/ok"}, {Method: "GET", Target: "/fail"}},
	})
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := g.Seconds()
	if s[0].Due != int(got.Load()) || s[0].Due < 100 || s[1].Due != 0 {
		t.Errorf("%d arrived, counted %+v", got.Load(), s)
	}
	if s[0].Answered+s[0].Failed != s[0].Due || s[0].Failed != s[0].Due/2 || s[0].Slow != 0 || g.Failures()["502 Bad Gateway"] != s[0].Failed {
		t.Errorf("counted %+v, %v", s[0], g.Failures())
	}
}

func TestAStalledServerDoesNotSlowTheSender(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var waiting atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if waiting.Add(1) == 40 {
			close(release) // only an open loop gets 40 requests to a server that answers none
		}
		<-release
	}))
	defer srv.Close()
	g := load.New(load.Config{
		URL: srv.URL, Rate: []float64{100}, SLOLatency: time.Nanosecond, Timeout: time.Minute, Seed: 7,
		Requests: []trace.Request{{Method: "GET", Target: "/"}},
	})
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := g.Seconds()[0]; s.Slow != s.Due || s.Violations() != s.Due || s.Due < 40 {
		t.Errorf("counted %+v, want every answer slow", s)
	}
}
