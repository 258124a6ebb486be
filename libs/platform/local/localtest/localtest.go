// Package localtest gives tests a real local platform: an agent within the test, and instances that are processes of the
// test binary itself.
//
//	func TestMain(m *testing.M) {
//		localtest.ServeIfAsked()
//		goleak.VerifyTestMain(m)
//	}
package localtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	roleVariable    = "LOCALTEST_ROLE"
	startupVariable = "LOCALTEST_STARTUP"
	// hangTimeout bounds hangs; nothing waits for it when all is well.
	hangTimeout = 30 * time.Second
)

// ServeIfAsked turns the process into an instance when an agent started it as one; it then does not return.
func ServeIfAsked() {
	if os.Getenv(roleVariable) == "" {
		return
	}
	if err := serve(os.Getenv("PORT"), os.Getenv(startupVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers 200 on every path once the start-up has passed, and finishes its requests on SIGTERM.
func serve(port, startup string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	pause, err := time.ParseDuration(startup)
	if err != nil {
		return err
	}
	ready := time.Now().Add(pause)
	server := &http.Server{
		Addr: "127.0.0.1:" + port, ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if time.Now().Before(ready) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// Process is an instance that is ready after the given time.
func Process(startup time.Duration, initial int) workload.Process {
	return workload.Process{
		Command: []string{os.Args[0]}, Env: map[string]string{roleVariable: "instance", startupVariable: startup.String()},
		ReadyPath: "/ready", Initial: initial, StartTimeout: hangTimeout, DrainTimeout: hangTimeout,
	}
}

// Run runs an agent with the groups until the test ends, and returns a client of it once it answers.
func Run(t testing.TB, groups map[string]workload.Process) *local.Client {
	t.Helper()
	// A path below t.TempDir may be longer than that of a unix socket may be.
	dir, err := os.MkdirTemp("", "fsp")
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]local.Group{}
	for name, p := range groups {
		specs[name] = local.Group{Process: p, Version: local.Version(p)}
	}
	agent, err := local.New(local.AgentConfig{Socket: filepath.Join(dir, "s")}, local.Deps{Groups: specs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	client := local.NewClient(filepath.Join(dir, "s"))
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent ended with %v", err)
		}
		client.Close()
		_ = os.RemoveAll(dir)
	})
	for name := range groups {
		Await(t, client, name, "the agent", func(platform.State) bool { return true })
	}
	return client
}

// Await watches a group until its state is as wanted.
func Await(t testing.TB, c *local.Client, group, what string, wanted func(platform.State) bool) platform.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangTimeout)
	defer cancel()
	var last platform.State
	found := false
	c.Watch(ctx, group, func(s platform.State, err error) {
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
		t.Fatalf("waited in vain for %s of group %s; the last state was %+v", what, group, last)
	}
	return last
}

// Ready is a state with exactly n instances, all ready.
func Ready(n int) func(platform.State) bool {
	return func(s platform.State) bool { return s.Ready() == n && len(s.Instances) == n }
}
