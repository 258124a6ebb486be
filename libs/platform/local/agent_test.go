package local

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestInstancesStartAndServe(t *testing.T) {
	t.Setenv("FORESHADOW_DATABASE_URL", "postgres://user:secret@db")
	c := runAgent(t, serverGroup("", 1), nil)
	await(t, c, "the initial instance", ready(1))
	scale(t, c, 3)
	s := await(t, c, "three ready instances", ready(3))
	addresses := map[string]bool{}
	for _, i := range s.Instances {
		addresses[i.Address] = true
		if got := get(t, i, "/environment?FORESHADOW_INSTANCE"); got != i.ID {
			t.Errorf("instance %s calls itself %q", i.ID, got)
		}
		if got := get(t, i, "/environment?FORESHADOW_DATABASE_URL"); got != "" {
			t.Errorf("instance %s was handed the agent's secret", i.ID)
		}
		if i.ReadyTime.Before(i.StartTime) || i.Version == "" {
			t.Errorf("instance %+v: want a ready time after its start and a version", i)
		}
	}
	if len(addresses) != 3 {
		t.Errorf("addresses %v, want three different ones", addresses)
	}
}

func TestInstanceThatIsNotReadyDoesNotServe(t *testing.T) {
	t.Parallel()
	g := serverGroup("never", 1)
	g.Process.StartTimeout = 200 * time.Millisecond
	c := runAgent(t, g, nil)
	first := await(t, c, "the start", func(s platform.State) bool { return len(s.Instances) == 1 }).Instances[0]
	s := await(t, c, "a replacement of the one that was not ready in time", func(s platform.State) bool {
		return len(s.Instances) > 0 && s.Instances[len(s.Instances)-1].ID != first.ID
	})
	if s.Ready() != 0 {
		t.Errorf("%d instances are called ready, none ever answered its check", s.Ready())
	}
}

func TestWhatWasWaitedForIsSaid(t *testing.T) {
	t.Parallel()
	p := workload.Process{ReadyPath: "/healthz", StartTimeout: time.Minute}
	for want, answer := range map[string]error{
		"not ready within 1m0s: GET /healthz on $PORT: answered 404 Not Found": errors.New("answered 404 Not Found"),
		"not ready within 1m0s: GET /healthz on $PORT: connection refused":     &url.Error{Op: "Get", URL: "http://127.0.0.1:1/healthz", Err: syscall.ECONNREFUSED},
	} {
		if got := unready(p, answer); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCrashedInstanceIsReplaced(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 2), nil)
	s := await(t, c, "two ready instances", ready(2))
	victim := s.Instances[0]
	get(t, victim, "/crash")
	await(t, c, "the replacement", func(s platform.State) bool { return ready(2)(s) && phase(s, victim.ID) == "gone" })
}

func TestInstanceThatMissesItsChecksIsReplaced(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 1), nil)
	victim := await(t, c, "a ready instance", ready(1)).Instances[0]
	get(t, victim, "/break")
	await(t, c, "the replacement", func(s platform.State) bool { return ready(1)(s) && phase(s, victim.ID) == "gone" })
}

// What takes a check and does not answer it is busy, and is replaced only when that does not end.
func TestABusyInstanceIsGivenTime(t *testing.T) {
	t.Parallel()
	impatient := func(hungAfter time.Duration) func(*Agent) {
		return func(a *Agent) { a.timing.checkTimeout, a.timing.patience.HungAfter = 50*time.Millisecond, hungAfter }
	}
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		c := runAgent(t, serverGroup("", 1), impatient(waitForSignal))
		busy := await(t, c, "a ready instance", ready(1)).Instances[0]
		get(t, busy, "/hang")
		for first, n := checks(t, busy), 0; n < first+5; n = checks(t, busy) { // more than may be refused
			time.Sleep(time.Millisecond)
		}
		get(t, busy, "/recover")
		s, err := c.State(t.Context(), "web")
		if err != nil || phase(s, busy.ID) != platform.Ready {
			t.Errorf("the busy instance is %v, %v", phase(s, busy.ID), err)
		}
	})
	t.Run("hung", func(t *testing.T) {
		t.Parallel()
		c := runAgent(t, serverGroup("", 1), impatient(200*time.Millisecond))
		victim := await(t, c, "a ready instance", ready(1)).Instances[0]
		get(t, victim, "/hang")
		await(t, c, "the replacement", func(s platform.State) bool { return ready(1)(s) && phase(s, victim.ID) == "gone" })
	})
}

// checks is how often an instance was asked whether it is ready.
func checks(t *testing.T, i platform.Instance) int {
	t.Helper()
	n, err := strconv.Atoi(get(t, i, "/checks"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReplacementsBackOff(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]Group{
		"ends during its start": serverGroup("crash", 1),
		"cannot be started":     {Process: workload.Process{Command: []string{"/nonexistent/program"}, ReadyPath: "/", Initial: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := runAgent(t, g, nil)
			// The time between the starts of two instances in a row must have reached the longest delay.
			var starts []time.Time
			last := ""
			await(t, c, "the longest delay", func(s platform.State) bool {
				if len(s.Instances) == 0 {
					return false
				}
				if i := s.Instances[len(s.Instances)-1]; i.ID != last {
					last = i.ID
					starts = append(starts, i.StartTime)
				}
				n := len(starts)
				return n > 2 && starts[n-1].Sub(starts[n-2]) >= quick().retryMax
			})
		})
	}
}

func TestFailedInstanceDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 1), func(a *Agent) { a.timing.retryFirst, a.timing.retryMax = time.Hour, time.Hour })
	victim := await(t, c, "a ready instance", ready(1)).Instances[0]
	get(t, victim, "/crash")
	await(t, c, "the failure", func(s platform.State) bool { return phase(s, victim.ID) == platform.Failed })
	scale(t, c, 2)
	await(t, c, "the second instance beside the failed one", func(s platform.State) bool { return s.Ready() == 1 && len(s.Instances) == 2 })
	scale(t, c, 1)
	s := await(t, c, "the failed one to be given up first", func(s platform.State) bool { return len(s.Instances) == 1 })
	if s.Ready() != 1 {
		t.Errorf("the ready instance was drained in the stead of the failed one: %+v", s)
	}
}

func TestDrainedStopFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 2), nil)
	s := await(t, c, "two ready instances", ready(2))
	youngest := s.Instances[1]
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + youngest.Address + "/hold")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	scale(t, c, 1)
	s = await(t, c, "the drain", func(s platform.State) bool { return phase(s, youngest.ID) == platform.Draining })
	if s.Ready() != 1 {
		t.Errorf("state %+v: want the other instance ready", s)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "finished" {
		t.Errorf("the request under way got %q, %v", body, err)
	}
	await(t, c, "the end of the drained instance", ready(1))
}

func TestInstanceThatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	g := serverGroup("deaf", 1)
	g.Process.DrainTimeout = 50 * time.Millisecond
	c := runAgent(t, g, nil)
	await(t, c, "a ready instance", ready(1))
	scale(t, c, 0)
	await(t, c, "its end", ready(0))
}

func TestChangesAreFenced(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 0), nil)
	ctx := t.Context()
	// The agent may not listen yet.
	await(t, c, "the agent", func(platform.State) bool { return true })
	if _, err := c.Scale(ctx, "web", platform.Change{Instances: 1, Generation: 7, ObservedDesired: 0}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change platform.Change
		want   string
		is     error
	}{
		"stale generation": {platform.Change{Instances: 5, Generation: 6, ObservedDesired: 1}, "generation 6 is older", platform.ErrConflict},
		"changed desired":  {platform.Change{Instances: 5, Generation: 8, ObservedDesired: 0}, "now 1", platform.ErrConflict},
		"negative":         {platform.Change{Instances: -1, Generation: 8, ObservedDesired: 1}, "want 0 to 500, got -1", nil},
		"too many":         {platform.Change{Instances: 501, Generation: 8, ObservedDesired: 1}, "want 0 to 500, got 501", nil},
	} {
		_, err := c.Scale(ctx, "web", test.change)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), c.Socket()) {
			t.Errorf("%s: %v, want %q and the socket named", name, err, test.want)
		}
		if got := errors.Is(err, platform.ErrConflict); got != (test.is != nil) {
			t.Errorf("%s: is a conflict: %v", name, got)
		}
	}
	if s, err := c.State(ctx, "web"); err != nil || s.Desired != 1 || s.Generation != 7 {
		t.Errorf("refused changes left %+v, %v", s, err)
	}
	if _, err := c.State(ctx, "nobody"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("unknown group: %v", err)
	}
	if _, err := c.Scale(ctx, "nobody", platform.Change{}); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("unknown group: %v", err)
	}
	if _, err := NewClient("/nonexistent/socket").State(ctx, "web"); err == nil || !strings.Contains(err.Error(), "/nonexistent/socket") {
		t.Errorf("agent away: %v, want the socket named", err)
	}
}

func TestUsageGrows(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 1), nil)
	i := await(t, c, "a ready instance", ready(1)).Instances[0]
	before, err := c.Usage(t.Context(), "web")
	if err != nil || len(before) != 1 {
		t.Fatalf("usage %v, %v", before, err)
	}
	get(t, i, "/work")
	after, err := c.Usage(t.Context(), "web")
	if err != nil || len(after) != 1 {
		t.Fatalf("usage %v, %v", after, err)
	}
	b, a := before[0], after[0]
	// The request burns 0.1 s of processor time where it gets a whole core; a tenth of it is enough to see.
	if a.CPUSeconds < b.CPUSeconds+0.01 || a.TransmittedBytes < b.TransmittedBytes+100_000 || a.ReceivedBytes <= b.ReceivedBytes {
		t.Errorf("usage before the work %+v, after %+v", b, a)
	}
	if a.Instance != i.ID || !a.Ready || a.MemoryBytes < 1<<20 || !a.Time.After(b.Time) {
		t.Errorf("usage %+v of %+v", a, i)
	}
}

func TestInstancesDieWithTheAgent(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), roleVariable+"=agent", "LOCAL_TEST_SOCKET="+socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	c := NewClient(socket)
	defer c.Close()
	s := await(t, c, "two ready instances", ready(2))
	// Each answers a held request only when it is asked to end, which nobody does: the end of the answer is its death.
	held := make([]*http.Response, 0, len(s.Instances))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, i := range s.Instances {
		resp, err := (&http.Client{Transport: transport}).Get("http://" + i.Address + "/hold")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, resp)
	}
	if err := agent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	for n, resp := range held {
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("instance %d went on and said %q", n, body)
		}
		_ = resp.Body.Close()
	}
}

func TestWatchSurvivesTheAgent(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	run := func() (stop func()) {
		a, err := New(AgentConfig{Socket: socket}, Deps{Groups: map[string]Group{"web": serverGroup("", 1)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := run()
	c := NewClient(socket)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), waitForSignal)
	defer cancel()
	seen, away := map[string]bool{}, 0
	c.Watch(ctx, "web", func(s platform.State, err error) {
		switch {
		case err != nil:
			if away++; len(seen) == 1 {
				stop = run()
			}
		case s.Ready() == 1 && !seen[s.Instances[0].ID]:
			seen[s.Instances[0].ID] = true
			if len(seen) == 1 {
				away = 0
				stop()
			} else {
				cancel()
			}
		}
	})
	stop()
	if len(seen) != 2 || away != 1 {
		t.Errorf("saw %d instances, want that of each agent; was told %d times that the agent is away, want once", len(seen), away)
	}
}

func TestOneAgentPerSocket(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 0), nil)
	await(t, c, "the agent", func(platform.State) bool { return true })
	second, err := New(AgentConfig{Socket: c.Socket()}, Deps{Groups: map[string]Group{"web": serverGroup("", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.Socket()) {
		t.Errorf("second agent: %v, want a refusal that names the socket", err)
	}
	if _, err := c.State(t.Context(), "web"); err != nil {
		t.Errorf("the first agent was disturbed: %v", err)
	}
}

func TestOutputIsKeptAndBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := runAgent(t, serverGroup("crash", 1), func(a *Agent) { a.cfg.LogDir = dir })
	failures := map[string]bool{}
	await(t, c, "more failures than outputs are kept", func(s platform.State) bool {
		for _, i := range s.Instances {
			failures[i.ID] = true
		}
		return len(failures) > keptOutputs+3
	})
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(names) == 0 || len(names) > keptOutputs+2 {
		t.Fatalf("%d outputs are kept, %v", len(names), err)
	}
	said := 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), "no licence found") {
			said++
		}
	}
	if said == 0 {
		t.Error("no output holds what the instances said")
	}
}
