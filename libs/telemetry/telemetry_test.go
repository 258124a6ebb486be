package telemetry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, h http.Handler, path, from string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.RemoteAddr = from
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

func TestAdminPages(t *testing.T) {
	t.Parallel()
	a := telemetry.NewAdmin(telemetry.NewRegistry())
	book := metric.NewBook("replicator/tap")
	a.AddLedger(book.Ledger)
	book.See(3)
	book.Drop("queue_full", 1)
	a.Show("/differences", func() any { return []int{1, 2} })
	h := a.Handler()

	a.NotReady("kafka", "no broker at 127.0.0.1:1")
	if code, body := get(t, h, "/readyz", "127.0.0.1:5"); code != 503 || !strings.Contains(body, "no broker") {
		t.Errorf("readyz = %d %q, want 503 with the reason", code, body)
	}
	a.Ready("kafka")
	for path, want := range map[string]string{
		"/readyz": "ok", "/livez": "ok", "/ledger": `"hop":"replicator/tap","seen":3`, "/differences": "[1,2]",
		"/metrics": `foreshadow_ledger_items_total{fate="dropped",hop="replicator/tap",reason="queue_full"} 1`,
	} {
		if code, body := get(t, h, path, "192.0.2.1:5"); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s = %d %q, want %q", path, code, body, want)
		}
	}
	if code, _ := get(t, h, "/debug/pprof/", "192.0.2.1:5"); code != http.StatusForbidden {
		t.Errorf("pprof answered a stranger with %d", code)
	}
	if code, _ := get(t, h, "/debug/pprof/", "127.0.0.1:5"); code != http.StatusOK {
		t.Errorf("pprof refused loopback with %d", code)
	}
}

func TestServeHTTPFinishesOpenRequests(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		_, _ = io.WriteString(w, "answered")
	})}
	done := make(chan error, 1)
	go func() { done <- telemetry.ServeHTTP(ctx, ln, srv, 5*time.Second) }()
	resp, err := http.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil || string(body) != "answered" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := <-done; err != nil {
		t.Errorf("ServeHTTP = %v after a clean stop", err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := telemetry.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := telemetry.Config{LogLevel: "loud", LogFormat: "xml"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "log_level") || !strings.Contains(err.Error(), "log_format") {
		t.Errorf("got %v, want both keys named", err)
	}
}
