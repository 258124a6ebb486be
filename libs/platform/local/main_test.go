package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	roleVariable  = "LOCAL_TEST_ROLE"
	modeVariable  = "LOCAL_TEST_MODE"
	waitForSignal = 20 * time.Second // a bound on hangs, not a measure of speed
)

// TestMain lets the test binary be the instances, and an agent to be killed.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "server":
		os.Exit(serverMain(os.Getenv(modeVariable)))
	case "agent":
		os.Exit(agentMain())
	}
	goleak.VerifyTestMain(m)
}

// serverMain is a small service: it is ready at once, never (mode "never"), or ends during its start (mode "crash").
func serverMain(mode string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if mode == "crash" {
		fmt.Fprintln(os.Stderr, "no licence found")
		return 3
	}
	var broken, hung atomic.Bool
	var checks atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		checks.Add(1)
		if hung.Load() {
			<-r.Context().Done()
			return
		}
		if mode == "never" || broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) { broken.Store(true) })
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { hung.Store(true) })
	mux.HandleFunc("/recover", func(http.ResponseWriter, *http.Request) { hung.Store(false) })
	mux.HandleFunc("/checks", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, checks.Load()) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(1) })
	mux.HandleFunc("/environment", func(w http.ResponseWriter, r *http.Request) {
		value := os.Getenv(r.URL.RawQuery)
		if strings.HasPrefix(r.URL.RawQuery, "/proc/") {
			data, _ := os.ReadFile(r.URL.RawQuery)
			value = string(data)
		}
		_, _ = io.WriteString(w, value)
	})
	// An answer that is under way when the process is told to end.
	mux.HandleFunc("/hold", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-ctx.Done()
		_, _ = io.WriteString(w, "finished")
	})
	mux.HandleFunc("/work", func(w http.ResponseWriter, _ *http.Request) {
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		}
		_, _ = w.Write(make([]byte, 100_000))
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		if mode != "deaf" {
			_ = server.Shutdown(context.Background())
		} else {
			select {}
		}
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-done
	return 0
}

func agentMain() int {
	a, err := New(AgentConfig{Socket: os.Getenv("LOCAL_TEST_SOCKET")}, Deps{Groups: map[string]Group{"web": serverGroup("", 2)}})
	if err == nil {
		err = a.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// serverGroup is a group of the small service.
func serverGroup(mode string, initial int) Group {
	p := workload.Process{
		Command: []string{os.Args[0]}, Env: map[string]string{roleVariable: "server", modeVariable: mode},
		ReadyPath: "/ready", Initial: initial, StartTimeout: waitForSignal, DrainTimeout: waitForSignal,
	}
	return Group{Process: p, Version: Version(p)}
}

// quick is the timing of the tests: nothing in them waits for time to pass, so that the values only bound how long they run.
func quick() timing {
	t := defaultTiming()
	t.pollFirst, t.pollMax, t.checkEvery = 5*time.Millisecond, 20*time.Millisecond, 10*time.Millisecond
	t.drainGrace, t.retryFirst, t.retryMax = 10*time.Millisecond, 5*time.Millisecond, 40*time.Millisecond
	return t
}

// runAgent runs an agent with one group "web" until the test ends, and then checks that no instance is left.
func runAgent(t *testing.T, g Group, adjust func(*Agent)) *Client {
	t.Helper()
	a, err := New(AgentConfig{Socket: socketPath(t)}, Deps{Groups: map[string]Group{"web": g}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.timing = quick()
	if adjust != nil {
		adjust(a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	client := NewClient(a.cfg.Socket)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v after a clean stop", err)
		}
		client.Close()
		for _, i := range a.groups.List()["web"].instances {
			if i.process == nil {
				continue
			}
			if err := syscall.Kill(i.process.pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d of %s is left: %v", i.process.pid, i.id, err)
			}
		}
	})
	return client
}

// socketPath is short: a path below t.TempDir may be longer than a unix socket's may be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// await watches until the state is as wanted.
func await(t *testing.T, c *Client, what string, wanted func(platform.State) bool) platform.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitForSignal)
	defer cancel()
	var last platform.State
	found := false
	c.Watch(ctx, "web", func(s platform.State, err error) {
		if err != nil || found {
			return
		}
		last = s
		if wanted(s) {
			found = true
			cancel()
		}
	})
	if !found {
		t.Fatalf("waited in vain for %s; the last state was %+v", what, last)
	}
	return last
}

func ready(n int) func(platform.State) bool {
	return func(s platform.State) bool { return s.Ready() == n && len(s.Instances) == n }
}

func phase(s platform.State, id string) platform.Phase {
	for _, i := range s.Instances {
		if i.ID == id {
			return i.Phase
		}
	}
	return "gone"
}

func scale(t *testing.T, c *Client, instances int) platform.State {
	t.Helper()
	s, err := c.State(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	s, err = c.Scale(t.Context(), "web", platform.Change{Instances: instances, Generation: s.Generation + 1, ObservedDesired: s.Desired})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, i platform.Instance, path string) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + i.Address + path)
	if err != nil {
		return "" // the instance ended of it
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
