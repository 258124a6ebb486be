package local

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local/internal/cgroup"
)

func environment(t *testing.T, address, name string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/environment?" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// trialState waits until the trial is as wanted.
func trialState(t *testing.T, c *Client, trial, what string, wanted func(platform.State, error) bool) platform.State {
	t.Helper()
	deadline := time.After(waitForSignal)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := c.State(t.Context(), platform.TrialGroup("web", trial))
		if wanted(s, err) {
			return s
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s: %+v, %v", what, s, err)
		}
	}
}

func isGone(_ platform.State, err error) bool { return errors.Is(err, platform.ErrNotFound) }

func TestATrialRunsBesideItsGroup(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 1), nil)
	base := await(t, c, "the group", ready(1))
	ask := platform.Trial{Name: "x1", Instances: 2, Env: map[string]string{"WORKERS": "8"}, Lease: time.Minute}
	for range 2 { // asking again renews the lease and starts nothing
		if _, err := c.Try(t.Context(), "web", ask); err != nil {
			t.Fatal(err)
		}
	}
	s := trialState(t, c, "x1", "two ready instances", func(s platform.State, err error) bool { return err == nil && s.Ready() == 2 })
	if len(s.Instances) != 2 || s.Instances[0].Version == base.Instances[0].Version {
		t.Errorf("trial %+v, want two instances of another version than %q", s, base.Instances[0].Version)
	}
	if got := environment(t, s.Instances[0].Address, "WORKERS"); got != "8" {
		t.Errorf("WORKERS = %q in the trial", got)
	}
	if got := environment(t, base.Instances[0].Address, "WORKERS"); got != "" {
		t.Errorf("WORKERS = %q in the group itself", got)
	}
	if u, err := c.Usage(t.Context(), platform.TrialGroup("web", "x1")); err != nil || len(u) != 2 {
		t.Errorf("usage %v, %v", u, err)
	}
	other := ask
	other.Instances = 3
	if _, err := c.Try(t.Context(), "web", other); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("another trial under the same name: %v", err)
	}
	for range 2 {
		if err := c.EndTrial(t.Context(), "web", "x1"); err != nil {
			t.Error(err)
		}
	}
	trialState(t, c, "x1", "its end", isGone)
	if s, err := c.State(t.Context(), "web"); err != nil || s.Ready() != 1 {
		t.Errorf("the group itself: %+v, %v", s, err)
	}
}

// The runner of an experiment may be killed; what it ran must not stay.
func TestATrialEndsWithItsLease(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 0), nil)
	await(t, c, "the agent", ready(0))
	if _, err := c.Try(t.Context(), "web", platform.Trial{Name: "x1", Instances: 1, Lease: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	trialState(t, c, "x1", "its end", isGone)
}

func TestBadTrialsAreRefused(t *testing.T) {
	t.Parallel()
	c := runAgent(t, serverGroup("", 0), nil)
	await(t, c, "the agent", ready(0))
	tests := map[string]struct {
		group string
		trial platform.Trial
		is    error
	}{
		"no group":     {"nobody", platform.Trial{Name: "x", Instances: 1, Lease: time.Second}, platform.ErrNotFound},
		"no name":      {"web", platform.Trial{Instances: 1, Lease: time.Second}, nil},
		"no instances": {"web", platform.Trial{Name: "x", Lease: time.Second}, nil},
		"no lease":     {"web", platform.Trial{Name: "x", Instances: 1}, nil},
	}
	for name, tc := range tests {
		if _, err := c.Try(t.Context(), tc.group, tc.trial); err == nil || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where no control group can be made nothing is pretended, and the reason is given.
func TestASizeThatCannotBeBoundedIsRefused(t *testing.T) {
	t.Parallel()
	base := newGroup(&Agent{log: slog.New(slog.DiscardHandler), noTree: errors.New("not delegated")}, "web", serverGroup("", 1))
	for what, ask := range map[string]platform.Trial{
		"cores": {Name: "x", Instances: 1, Lease: time.Second, CPUCores: 2}, "memory": {Name: "x", Instances: 1, Lease: time.Second, MemoryBytes: 1},
	} {
		if _, err := vary(base, "web.x", ask); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), "not delegated") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestATrialIsBounded(t *testing.T) {
	t.Parallel()
	if _, err := cgroup.Find(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	c := runAgent(t, serverGroup("", 1), nil)
	base := await(t, c, "the group", ready(1))
	ask := platform.Trial{Name: "x1", Instances: 2, CPUCores: 0.5, MemoryBytes: 1 << 30, Lease: time.Minute}
	if _, err := c.Try(t.Context(), "web", ask); err != nil {
		t.Fatal(err)
	}
	s := trialState(t, c, "x1", "two ready instances", func(s platform.State, err error) bool { return err == nil && s.Ready() == 2 })
	if s.Size != ask.Size() || s.Instances[1].Size != ask.Size() || base.Instances[0].Size != (platform.Size{}) {
		t.Errorf("trial %+v beside %+v", s, base)
	}
	groups := func(i platform.Instance) string { return environment(t, i.Address, "/proc/self/cgroup") }
	for _, i := range s.Instances {
		if !strings.Contains(groups(i), i.ID) {
			t.Errorf("%s is in\n%s", i.ID, groups(i))
		}
	}
	if own, err := os.ReadFile("/proc/self/cgroup"); err != nil || groups(base.Instances[0]) != string(own) {
		t.Errorf("an instance of the group itself is in\n%s, %v", groups(base.Instances[0]), err)
	}
	if err := c.EndTrial(t.Context(), "web", "x1"); err != nil {
		t.Error(err)
	}
	trialState(t, c, "x1", "its end", isGone)
}
