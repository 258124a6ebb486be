package stub_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/stub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call runs a stand-in for the length of a test and returns what calls it, its account, and its end.
func run(t *testing.T, d workload.Dependency, control func(string, string, syscall.RawConn) error) (s *stub.Stub, call func(method, target string) (int, string), book *metric.Book, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.Name, d.Listen = "pay", ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	book = metric.NewBook("stub")
	s, err = stub.New(stub.Options{Dependency: d, Control: control, Book: book, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	call = func(method, target string) (int, string) {
		t.Helper()
		for range 200 { // it may not listen yet
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.Listen+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if errors.Is(err, syscall.ECONNREFUSED) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body)
		}
		t.Fatal("it does not listen")
		return 0, ""
	}
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return s, call, book, stop
}

func TestItAnswersWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	s, call, book, stop := run(t, workload.Dependency{Mode: workload.Serve, Routes: []workload.DependencyRoute{
		{Route: "GET /rates/{currency}", ContentType: "application/json", Body: `{"rate":2}`, Latency: 20 * time.Millisecond},
		{Route: "POST /payments", Status: 503},
	}}, nil)
	if status, body := call("GET", "/rates/EUR"); status != 200 || body != `{"rate":2}` {
		t.Errorf("rates: %d %q", status, body)
	}
	if status, _ := call("POST", "/payments"); status != 503 {
		t.Errorf("payments: %d", status)
	}
	if status, body := call("GET", "/other"); status != 501 || !strings.Contains(body, "nothing says what to answer to GET /other") {
		t.Errorf("other: %d %q", status, body)
	}
	stop()
	if c := s.Calls(); c.Count != 3 || c.Failed != 2 || c.Seconds < 0.02 {
		t.Errorf("calls %+v", c)
	}
	if l := book.Ledger(); l.Passed != 2 || l.Dropped[stub.Unknown] != 1 || !l.Balanced() {
		t.Errorf("ledger %+v", l)
	}
}

func TestBlockRefusesAll(t *testing.T) {
	t.Parallel()
	_, call, book, stop := run(t, workload.Dependency{Mode: workload.Block, Routes: []workload.DependencyRoute{{Route: "GET /"}}}, nil)
	if status, _ := call("GET", "/"); status != 403 {
		t.Errorf("status %d", status)
	}
	if stop(); book.Ledger().Dropped[stub.Blocked] != 1 {
		t.Errorf("ledger %+v", book.Ledger())
	}
}

// What was recorded is served by a later run without the upstream, and nothing that changes state ever reaches it.
func TestWhatIsRecordedIsServed(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "rate of "+r.URL.Query().Get("c"))
	}))
	t.Cleanup(upstream.Close)
	d := workload.Dependency{Upstream: strings.TrimPrefix(upstream.URL, "http://"), Mode: workload.Record, File: filepath.Join(t.TempDir(), "new", "pay.json")}
	_, call, _, stop := run(t, d, nil)
	if status, body := call("GET", "/rates?c=EUR"); status != 200 || body != "rate of EUR" {
		t.Errorf("recorded %d %q", status, body)
	}
	if status, _ := call("POST", "/payments"); status != 403 || hits.Load() != 1 {
		t.Errorf("a payment: %d, the upstream saw %d", status, hits.Load())
	}
	stop()
	d.Mode = workload.Serve
	_, call, _, stop = run(t, d, nil)
	if status, body := call("GET", "/rates?c=EUR"); status != 200 || body != "rate of EUR" || hits.Load() != 1 {
		t.Errorf("served %d %q, the upstream saw %d", status, body, hits.Load())
	}
	if status, _ := call("GET", "/rates?c=USD"); status != 501 {
		t.Errorf("not recorded: %d", status)
	}
	stop()
}

// TestWhatWasRecordedIsReplacedInOneGo: a file that was written half, by one that was killed or on a full disk, cannot be read at the
// next start, of any workload. A second name of the old file tells whether it was written over.
func TestWhatWasRecordedIsReplacedInOneGo(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "new") }))
	t.Cleanup(upstream.Close)
	file := filepath.Join(t.TempDir(), "pay.json")
	const before = `{"GET /old":{"status":200,"content_type":"text/plain","body":""}}`
	if err := errors.Join(os.WriteFile(file, []byte(before), 0o600), os.Link(file, file+".old")); err != nil {
		t.Fatal(err)
	}
	_, call, _, stop := run(t, workload.Dependency{Upstream: strings.TrimPrefix(upstream.URL, "http://"), Mode: workload.Record, File: file}, nil)
	call("GET", "/new")
	stop()
	old, err := os.ReadFile(file + ".old")
	if err != nil || string(old) != before {
		t.Errorf("the old file now holds %s, %v", old, err)
	}
	now, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(now), "GET /old") || !strings.Contains(string(now), "GET /new") {
		t.Errorf("the new file holds %s, %v", now, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestItConnectsOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	refuse := func(string, string, syscall.RawConn) error { return errors.New("it is production's") }
	_, call, book, stop := run(t, workload.Dependency{Mode: workload.Record, Upstream: "127.0.0.1:9"}, refuse)
	if status, body := call("GET", "/"); status != 502 || !strings.Contains(body, "production") {
		t.Errorf("got %d %q", status, body)
	}
	if stop(); book.Ledger().Dropped[stub.Refused] != 1 {
		t.Errorf("ledger %+v", book.Ledger())
	}
}
