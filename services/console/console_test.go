package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the longest a test waits for what must come; nothing passes or fails by being slow.
const patience = 20 * time.Second

// backend is one gRPC server upstream, which can go away and come back at the same address.
type backend struct {
	t        *testing.T
	register func(*rpc.Server)
	address  string
	stop     func()
}

func startBackend(t *testing.T, register func(*rpc.Server)) *backend {
	t.Helper()
	b := &backend{t: t, register: register, address: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *backend) start() {
	b.t.Helper()
	ln, err := rpc.Listen(b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.address = ln.Addr().String()
	server := rpc.NewServer(slog.New(slog.DiscardHandler))
	b.register(server)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("serve: %v", err)
		}
		b.stop = func() {}
	}
}

// house is a console and the four services it looks at.
type house struct {
	*script
	url                                     string
	history, predictor, provisioner, runner *backend
	registry                                *prometheus.Registry
	client                                  *http.Client
}

func startHouse(t *testing.T, configure ...func(*console.Config)) *house {
	t.Helper()
	h := &house{script: newScript(), registry: prometheus.NewRegistry(), client: &http.Client{Transport: &http.Transport{}}}
	h.history = startBackend(t, func(s *rpc.Server) { foreshadowv1.RegisterHistoryServiceServer(s, h.script) })
	h.predictor = startBackend(t, func(s *rpc.Server) {
		foreshadowv1.RegisterRecommendationServiceServer(s, h.script)
		foreshadowv1.RegisterForecastServiceServer(s, h.script)
	})
	h.provisioner = startBackend(t, func(s *rpc.Server) { foreshadowv1.RegisterProvisioningServiceServer(s, h.script) })
	h.runner = startBackend(t, func(s *rpc.Server) { foreshadowv1.RegisterExperimentServiceServer(s, h.script) })
	cfg := console.DefaultConfig()
	cfg.History, cfg.Predictor, cfg.Provisioner, cfg.ShadowRunner = h.history.address, h.predictor.address, h.provisioner.address, h.runner.address
	for _, f := range configure {
		f(&cfg)
	}
	service, err := console.New(cfg, console.Deps{
		Log: slog.New(slog.DiscardHandler), Registry: h.registry, Admin: telemetry.NewAdmin(prometheus.NewRegistry()), Workloads: []workload.Workload{shopWorkload()},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + ln.Addr().String()
	serve(t, service, ln)
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// serve runs a console until the test ends.
func serve(t *testing.T, service *console.Service, ln net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v after a clean stop", err)
		}
	})
}

func shopWorkload() workload.Workload {
	w := workload.Default()
	w.Name = shop
	w.SLO = workload.SLO{Quantile: 0.95, Latency: 100 * time.Millisecond, ErrorRatio: 0.01}
	w.Policy.Interval = time.Second
	return w
}

// event is one Server-Sent Event.
type event struct {
	name string
	data json.RawMessage
}

// watch opens an event stream as a browser does; events come until the test ends.
func (h *house) watch(t *testing.T) <-chan event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/v1/workloads/shop/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("events: %s %s", resp.Status, got)
	}
	out := make(chan event, 10_000)
	go func() {
		defer close(out)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 16<<20)
		var e event
		for lines.Scan() {
			switch key, value, _ := strings.Cut(lines.Text(), ": "); key {
			case "event":
				e.name = value
			case "data":
				e.data = json.RawMessage(value)
			case "":
				if e.name != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		for range out { //nolint:revive // drained so that the reader ends
		}
	})
	return out
}

// await returns the data of the first event of the name that holds.
func await[T any](t *testing.T, events <-chan event, name string, holds func(T) bool) T {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("stream ended before %s", name)
			}
			if e.name != name {
				continue
			}
			var data T
			if err := json.Unmarshal(e.data, &data); err != nil {
				t.Fatalf("%s: %v in %s", name, err, e.data)
			}
			if holds(data) {
				return data
			}
		case <-limit:
			t.Fatalf("no %s that holds within %v", name, patience)
		}
	}
}
