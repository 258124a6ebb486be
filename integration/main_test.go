package integration_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	binary = os.Getenv("FORESHADOW_BINARY")
	if binary == "" {
		dir, err := os.MkdirTemp("", "foreshadow-build-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "foreshadow")
		build := exec.Command("go", "build", "-o", binary, "..")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the binary:", err)
			return 1
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// configuration is a small shop: instances start in half a second, carry about 80 requests/s each, and hold still unless
// there is a reason.
const configuration = `
workloads:
  - name: shop
    slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
    production:
      platform: local
      group: shop
      cpu_cores: 0.1
      process: &process
        command: [%q, shop, --startup, 500ms, --service-time, 10ms]
        ready_path: /healthz
        start_timeout: 20s
        drain_timeout: 5s
        initial: 2
    shadow: {platform: local, group: shop-shadow, process: {<<: *process, initial: 1}}
    instances: {min: 1, max: 6}
    policy: {interval: 1s, startup: 1s, scale_down_after: 5s, history: 20m}
    guardrails: {mode: automatic, rate_period: 5s, stabilise_down: 2s, verify_timeout: 20s}
    tap: {sample_ratio: 0.5, sample_key: integration, session_header: X-Session}
    replay: {min_requests: 50, step_duration: 1s, settle_duration: 200ms, max_rate: 400, precision: 0.2, capacity_ttl: 1h}
`

// world is a running stack with clients of its API.
type world struct {
	*stack.Stack
	t       *testing.T
	history foreshadowv1.HistoryServiceClient
	advice  foreshadowv1.RecommendationServiceClient
	steer   foreshadowv1.ProvisioningServiceClient
	broker  kafka.Config
	dir     string
}

// start runs the whole stack until the test ends; more is added to its configuration.
func start(t *testing.T, more ...string) *world {
	t.Helper()
	return startProgram(t, binary, more...)
}

// startProgram is start with another program as the services.
func startProgram(t *testing.T, program string, more ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "foreshadow-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration+strings.Join(more, ""), binary), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := stack.New(stack.Config{Binary: program, ConfigFile: file, Dir: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w := &world{Stack: s, t: t, dir: dir, broker: kafka.Default()}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the stack ended with: %v", err)
		}
		if t.Failed() {
			w.showLogs()
		}
		_ = os.RemoveAll(dir)
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	w.broker.Brokers = []string{s.Listen(stack.Broker)}
	w.history = foreshadowv1.NewHistoryServiceClient(w.dial(stack.Aggregator))
	w.advice = foreshadowv1.NewRecommendationServiceClient(w.dial(stack.Predictor))
	w.steer = foreshadowv1.NewProvisioningServiceClient(w.dial(stack.Provisioner))
	return w
}

func (w *world) dial(name string) *grpc.ClientConn {
	w.t.Helper()
	conn, err := rpc.Dial(w.Listen(name))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// showLogs prints what the services had to say, when a test has failed.
func (w *world) showLogs() {
	files, _ := filepath.Glob(filepath.Join(w.dir, "logs", "*.log"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		w.t.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

// users send a steady stream of requests and count what became of them.
type users struct {
	mu       sync.Mutex
	sent     int
	failures map[string]int
	latency  []time.Duration
}

// come sends rate requests per second, each due at its own time, until ctx ends, and returns when all are answered.
func (u *users) come(ctx context.Context, url string, rate int) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		wg.Go(func() { u.send(client, fmt.Sprintf("%s/items/%d", url, i%50), fmt.Sprint("session-", i%97)) })
	}
}

func (u *users) send(client *http.Client, url, session string) {
	begin := time.Now()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err) // the URL is the test's own
	}
	req.Header.Set("X-Session", session)
	failure := ""
	if resp, err := client.Do(req); err != nil {
		failure = err.Error()
	} else {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			failure = err.Error()
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			failure = resp.Status
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent++
	u.latency = append(u.latency, time.Since(begin))
	if failure != "" {
		if u.failures == nil {
			u.failures = map[string]int{}
		}
		u.failures[failure]++
	}
}

// during lets a phase pass and returns the median latency of the requests that were answered in it.
func (u *users) during(t *testing.T, phase time.Duration) time.Duration {
	t.Helper()
	u.mu.Lock()
	u.latency = u.latency[:0]
	u.mu.Unlock()
	time.Sleep(phase)
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.latency) == 0 {
		t.Fatalf("no request was answered within %v", phase)
	}
	slices.Sort(u.latency)
	return u.latency[len(u.latency)/2]
}

// eventually polls until the condition holds or the time is up; the condition says what is missing.
func eventually(t *testing.T, within time.Duration, condition func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	missing := condition()
	for missing != "" && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		missing = condition()
	}
	if missing != "" {
		t.Fatalf("after %v: %s", within, missing)
	}
}
