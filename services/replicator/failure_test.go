package replicator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator"
)

func TestClientThatGoesAwayIsNoError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		slo  time.Duration
		late uint64
	}{"in time": {time.Hour, 0}, "after the promise was broken": {time.Nanosecond, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{workload: func(w *workload.Workload) { w.SLO.Latency = c.slo }})
			arrived, left := make(chan struct{}), make(chan struct{})
			r.use(serve(t, func(_ http.ResponseWriter, req *http.Request) {
				close(arrived)
				<-req.Context().Done()
				close(left)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			if _, err := r.client.Do(request(t, http.MethodGet, r.url, "").WithContext(ctx)); err == nil {
				t.Error("answered")
			}
			<-left // the instance hears of it
			copies := r.captured()
			_, sum := r.observed()
			if got := sum.Total(); got.Requests != 1 || got.Responses != 1 || got.Errors != 0 || got.SLOViolations != c.late {
				t.Errorf("observed %+v", got)
			}
			if len(copies) != 1 || copies[0].GetResponseStatus() != 0 {
				t.Errorf("copies %v", copies)
			}
		})
	}
}

func TestAnswerThatBreaksHalfWayIsAnErrorAndCutForTheClient(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}))
		resp, err := r.client.Do(request(t, http.MethodGet, r.url, ""))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil {
			t.Error("the client was told that the answer is whole")
		}
		if _, sum := r.observed(); sum.Total().Errors != 1 || sum.Total().SLOViolations != 1 {
			t.Errorf("observed %+v", sum.Total())
		}
	})
}

func TestShadowNeverReachesProduction(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a shadow request reached production") }))
	for name, value := range map[string]string{
		traffic.ShadowHeader: "shop", "baggage": "a=1, " + traffic.ShadowBaggage + "=shop;p=1", strings.ToLower(traffic.ShadowHeader): "",
	} {
		req := request(t, http.MethodGet, r.url, "")
		req.Header.Set(name, value)
		if code, _ := do(t, r.client, req); code != http.StatusLoopDetected {
			t.Errorf("%s: got %d", name, code)
		}
	}
	if l := r.ledger("replicator/tap"); l.Dropped["loop"] != 3 || !l.Balanced() {
		t.Errorf("ledger %+v", l)
	}
}

func TestNoInstance(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: func(c *replicator.Config) { c.WaitReady = 10 * time.Millisecond }})
	resp, err := r.client.Do(request(t, http.MethodGet, r.url, ""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	rec := httptest.NewRecorder()
	r.admin.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "shop-production") {
		t.Errorf("readyz %d %s", rec.Code, rec.Body)
	}
	if _, sum := r.observed(); sum.Total().Errors != 1 {
		t.Errorf("observed %+v", sum.Total())
	}
	if want := `foreshadow_replicator_errors_total{reason="no_instance"} 1`; !strings.Contains(r.metrics(), want) {
		t.Errorf("metrics lack %s", want)
	}
}

func TestRequestWaitsForAnInstance(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o.with(func(c *replicator.Config) { c.WaitReady = time.Minute }))
		instance := serve(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
		go func() {
			for r.ledger("replicator/tap").Pending == 0 {
				time.Sleep(time.Millisecond) // nothing signals that the request waits
			}
			r.use(instance)
		}()
		if code, body := do(t, r.client, request(t, http.MethodPost, r.url, "late")); code != 200 || body != "late" {
			t.Errorf("got %d %q", code, body)
		}
	})
}

// TestRefusedConnectionGoesOnToTheNextInstance: the dead instance is the first choice of every second request.
func TestRefusedConnectionGoesOnToTheNextInstance(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		alive := serve(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
		dead := httptest.NewServer(nil)
		dead.Close()
		for i := range 6 {
			// A new identity each time, for one that was set aside is not tried.
			r.platform.set(ready(fmt.Sprint("dead", i), address(dead)), ready("alive", address(alive)))
			if code, body := do(t, r.client, request(t, http.MethodPost, r.url, "payload")); code != 200 || body != "payload" {
				t.Errorf("request %d: %d %q", i, code, body)
			}
		}
		if _, sum := r.observed(); sum.Total().Errors != 0 || sum.Total().Requests != 6 {
			t.Errorf("observed %+v", sum.Total())
		}
	})
}

// TestBrokenInstance: a request that may have had an effect is not sent twice; a safe one is.
func TestBrokenInstance(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		hang := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		alive := serve(t, func(http.ResponseWriter, *http.Request) {})
		for method, want := range map[string]int{http.MethodGet: 1, http.MethodPost: 0} {
			answered := 0
			for range 2 { // ties rotate: one of the two meets the broken one first
				r.use(hang, alive)
				if code, _ := do(t, r.client, request(t, method, r.url, "")); code == 200 {
					answered++
				} else if code != http.StatusBadGateway {
					t.Errorf("%s: got %d", method, code)
				}
			}
			if answered != 1+want {
				t.Errorf("%s: %d of 2 answered", method, answered)
			}
		}
	})
}

func TestDrainAtTheEndFinishesOpenRequests(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		arrived, release := make(chan struct{}), make(chan struct{})
		r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-release
			_, _ = io.WriteString(w, "whole")
		}))
		answer := make(chan string, 1)
		go func() {
			_, body := do(t, r.client, request(t, http.MethodGet, r.url, ""))
			answer <- body
		}()
		<-arrived
		r.cancel()
		close(release)
		if got := <-answer; got != "whole" {
			t.Errorf("got %q", got)
		}
		if _, sum := r.observed(); sum.Total().Responses != 1 || sum.Total().Errors != 0 {
			t.Errorf("observed %+v", sum.Total())
		}
	})
}

func TestRequestBeyondTheDrainIsCutAndAnError(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o.with(func(c *replicator.Config) { c.DrainTimeout = 20 * time.Millisecond }))
		arrived := make(chan struct{})
		r.use(serve(t, func(_ http.ResponseWriter, req *http.Request) {
			close(arrived)
			<-req.Context().Done()
		}))
		go func() { <-arrived; r.cancel() }()
		// Who is cut off may still be told so.
		if resp, err := r.client.Do(request(t, http.MethodGet, r.url, "")); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("got %d", resp.StatusCode)
			}
		}
		if _, sum := r.observed(); sum.Total().Responses != 1 || sum.Total().Errors != 1 {
			t.Errorf("observed %+v", sum.Total())
		}
		if want := `foreshadow_replicator_errors_total{reason="shutdown"} 1`; !strings.Contains(r.metrics(), want) {
			t.Errorf("metrics lack %s", want)
		}
	})
}

func TestInstancesServeOnWhileThePlatformIsAway(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) {}))
	do(t, r.client, request(t, http.MethodGet, r.url, ""))
	r.platform.fail(errors.New("away"))
	waitFor(t, "the replicator hears of it", func() bool { return r.platform.failures() > 0 })
	if code, _ := do(t, r.client, request(t, http.MethodGet, r.url, "")); code != http.StatusOK {
		t.Errorf("got %d", code)
	}
}
