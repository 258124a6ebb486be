package docker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/platform/docker/dockertest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hangTimeout = 30 * time.Second // a bound on hangs, not a measure of speed

// quick is the timing of the tests: nothing in them waits for time to pass, so that the values only bound how long they run.
func quick() timing {
	t := defaultTiming()
	t.poll, t.checkEvery, t.awayMax = 5*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	t.drainGrace, t.retryFirst, t.retryMax, t.resizeRetry = 10*time.Millisecond, 5*time.Millisecond, 40*time.Millisecond, 10*time.Millisecond
	return t
}

// rig is an engine with a service of Compose, and an agent that keeps it as the group web.
type rig struct {
	*dockertest.Engine
	t      *testing.T
	dir    string
	spec   workload.Docker
	timing timing
	client *agent.Client
	stop   func()

	mu      sync.Mutex
	unready map[string]string
}

// Ready implements Health.
func (r *rig) Ready(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unready, part)
}

// NotReady implements Health.
func (r *rig) NotReady(part, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unready[part] = reason
}

// ready says whether the agent called itself so.
func (r *rig) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.unready) == 0
}

func labels(service string) map[string]string {
	return map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": service}
}

func newRig(t *testing.T, adjust ...func(*workload.Docker)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsd") // a path below t.TempDir may be longer than that of a unix socket may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &rig{Engine: dockertest.New(t), t: t, dir: dir, timing: quick(), unready: map[string]string{}, spec: workload.Docker{
		Labels: labels("web"), ReadyPath: "/healthz", StartTimeout: hangTimeout, DrainTimeout: 7 * time.Second,
	}}
	r.spec.Port = r.Port
	for _, f := range adjust {
		f(&r.spec)
	}
	return r
}

// start runs an agent; stop ends it, or the end of the test.
func (r *rig) start() {
	r.t.Helper()
	cfg := DefaultAgentConfig()
	cfg.Socket, cfg.StateDir, cfg.Engine = filepath.Join(r.dir, "s"), filepath.Join(r.dir, "state"), r.Host()
	a, err := New(cfg, Deps{Groups: map[string]Group{"web": {r.spec}}, Log: slog.New(slog.DiscardHandler), Health: r})
	if err != nil {
		r.t.Fatal(err)
	}
	a.timing = r.timing
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.client = agent.NewClient(cfg.Socket)
	client, stopped := r.client, false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run = %v after a clean stop", err)
		}
		client.Close()
	}
	r.t.Cleanup(r.stop)
}

// await watches until the state is as wanted.
func (r *rig) await(what string, wanted func(platform.State) bool) platform.State {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), hangTimeout)
	defer cancel()
	var last platform.State
	found := false
	r.client.Watch(ctx, "web", func(s platform.State, err error) {
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
		r.t.Fatalf("waited in vain for %s; the last state was %+v", what, last)
	}
	return last
}

func ready(n int) func(platform.State) bool {
	return func(s platform.State) bool { return s.Desired == n && s.Ready() == n && len(s.Instances) == n }
}

// scale asks for a change upon what there is.
func (r *rig) scale(instances int, size ...platform.Size) platform.State {
	r.t.Helper()
	s, err := r.client.State(r.t.Context(), "web")
	if err != nil {
		r.t.Fatal(err)
	}
	change := platform.Change{Instances: instances, Generation: s.Generation + 1, ObservedDesired: s.Desired}
	if len(size) > 0 {
		change.Size = size[0]
	}
	if s, err = r.client.Scale(r.t.Context(), "web", change); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// until asks again until the answer is yes.
func (r *rig) until(what string, ask func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(hangTimeout); !ask(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}
