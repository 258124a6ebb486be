package docker

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/docker/dockertest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// try asks until the trial is as wanted.
func (r *rig) try(ask platform.Trial, wanted func(platform.State) bool) platform.State {
	r.t.Helper()
	var last platform.State
	r.until("trial "+ask.Name, func() bool {
		s, err := r.client.Try(r.t.Context(), "web", ask)
		if errors.Is(err, platform.ErrUnsupported) {
			r.t.Fatal(err)
		}
		last = s
		return err == nil && wanted(s)
	})
	return last
}

func (r *rig) awaitEnd(trial string) {
	r.t.Helper()
	r.until("the end of trial "+trial, func() bool {
		_, err := r.client.State(r.t.Context(), platform.TrialGroup("web", trial))
		return errors.Is(err, platform.ErrNotFound)
	})
}

// ofTrials are the containers that are marked as such.
func (r *rig) ofTrials() []*dockertest.Container {
	return slices.DeleteFunc(r.All(), func(c *dockertest.Container) bool { return c.Inspect().Config.Labels[trialLabel] == "" })
}

func TestATrialRunsBesideItsGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	template := r.Compose("shop", "web", func(c *container.Config, _ *container.HostConfig) {
		c.Labels["traefik.enable"] = "true"
	}).Inspect()
	r.start()
	base := r.await("the group", ready(1))
	ask := platform.Trial{
		Name: "x1", Instances: 2, Env: map[string]string{"PORT": "9090", "WORKERS": "8"}, Image: "shop:next", CPUCores: 0.25, MemoryBytes: 32 << 20, Lease: time.Minute,
	}
	s := r.try(ask, ready(2))
	if s.Group != "web.x1" || s.Size != ask.Size() || s.Instances[0].Size != ask.Size() || s.Instances[0].Address == base.Instances[0].Address {
		t.Errorf("trial %+v", s)
	}
	for i, name := range []string{"web-x1-1", "web-x1-2"} {
		c := r.Find(name)
		if c == nil {
			t.Fatalf("no container is called %s", name)
		}
		got := c.Inspect()
		if got.Config.Image != "shop:next" || !slices.Equal(got.Config.Env, []string{"PORT=9090", "WORKERS=8"}) || !slices.Equal(got.Config.Cmd, template.Config.Cmd) ||
			got.HostConfig.NanoCPUs != 25e7 || got.HostConfig.Memory != 32<<20 || got.HostConfig.RestartPolicy.Name != container.RestartPolicyDisabled {
			t.Errorf("container %d is %+v, %+v", i, got.Config, got.HostConfig)
		}
		if len(got.Config.Labels) != 3 || got.Config.Labels[trialLabel] != "web.x1" || got.Config.Labels[trialOfLabel] != "web" || got.Config.Labels[groupLabel] != "web.x1" {
			t.Errorf("container %d has the labels %v", i, got.Config.Labels)
		}
		if aliases := got.NetworkSettings.Networks[dockertest.Network].Aliases; len(aliases) != 0 {
			t.Errorf("container %d answers to %v", i, aliases)
		}
	}
	if u, err := r.client.Usage(t.Context(), "web.x1"); err != nil || len(u) != 2 {
		t.Errorf("usage %v, %v", u, err)
	}
	other := ask
	other.CPUCores = 1
	if _, err := r.client.Try(t.Context(), "web", other); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("another trial under the same name: %v", err)
	}
	if err := r.client.EndTrial(t.Context(), "web", "x1"); err != nil {
		t.Error(err)
	}
	r.awaitEnd("x1")
	if n := len(r.ofTrials()); n != 0 {
		t.Errorf("%d containers are left", n)
	}
	if s := r.await("the group", ready(1)); s.Foreign || s.Instances[0].ID != base.Instances[0].ID || !r.ready() {
		t.Errorf("the group itself is %+v, ready %v", s, r.ready())
	}
}

// A shadow sleeps most of the time; what it would be like is known all the same.
func TestATrialOfAGroupThatIsAsleep(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the group", ready(1))
	r.scale(0)
	r.await("its sleep", ready(0))
	r.try(platform.Trial{Name: "x", Instances: 1, Lease: time.Minute}, ready(1))
	if s := r.await("the group", ready(0)); s.Foreign {
		t.Errorf("the group itself is %+v", s)
	}
}

func TestAnInstanceOfATrialIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the group", ready(1))
	ask := platform.Trial{Name: "x", Instances: 1, Lease: time.Minute}
	first := r.try(ask, ready(1)).Instances[0]
	r.ofTrials()[0].Crash()
	r.try(ask, func(s platform.State) bool { return ready(1)(s) && s.Instances[0].ID != first.ID })
	r.until("the one that crashed to be removed", func() bool { return len(r.ofTrials()) == 1 })
}

func TestATrialEndsWithItsLease(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the group", ready(1))
	r.until("a trial", func() bool {
		_, err := r.client.Try(t.Context(), "web", platform.Trial{Name: "x", Instances: 3, Lease: time.Millisecond})
		return err == nil
	})
	r.awaitEnd("x")
	if n := len(r.ofTrials()); n != 0 {
		t.Errorf("%d containers are left", n)
	}
}

func TestTrialsEndWithTheAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the group", ready(1))
	r.try(platform.Trial{Name: "x", Instances: 2, Lease: time.Minute}, ready(2))
	r.stop()
	if len(r.All()) != 1 || !r.All()[0].Inspect().State.Running {
		t.Errorf("%d containers are there, want the group's, running", len(r.All()))
	}
}

// An agent that was killed leaves containers; the next one removes them, and then lets trials begin.
func TestWhatAKilledAgentHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	left := r.Compose("shop", "left", func(c *container.Config, _ *container.HostConfig) {
		c.Labels = map[string]string{trialOfLabel: "web", trialLabel: "web.x", groupLabel: "web.x"}
	}).Inspect()
	other := r.Compose("shop", "other", func(c *container.Config, _ *container.HostConfig) {
		c.Labels = map[string]string{trialOfLabel: "of-another-agent", trialLabel: "web.y"}
	}).Inspect()
	r.Inject(func(q *http.Request) int {
		if strings.HasSuffix(q.URL.Path, left.ID) && q.Method == http.MethodDelete {
			return http.StatusInternalServerError
		}
		return 0
	})
	r.start()
	r.await("the group", ready(1))
	if _, err := r.client.Try(t.Context(), "web", platform.Trial{Name: "x", Instances: 1, Lease: time.Minute}); err == nil || errors.Is(err, platform.ErrUnsupported) {
		t.Errorf("tried beside what is left: %v", err)
	}
	r.Inject(nil)
	s := r.try(platform.Trial{Name: "x", Instances: 1, Lease: time.Minute}, ready(1))
	for _, c := range r.All() {
		if c.Inspect().ID == left.ID {
			t.Errorf("%s is there beside %+v", left.Name, s)
		}
	}
	if r.Find(strings.TrimPrefix(other.Name, "/")) == nil {
		t.Error("a container of another agent's is gone")
	}
}

func TestTrialsThatCannotBe(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(d *workload.Docker) { d.ReadyPath = "" })
	r.Compose("shop", "web", func(_ *container.Config, h *container.HostConfig) { h.NetworkMode = "host" })
	r.start()
	r.await("the group", func(s platform.State) bool { return len(s.Instances) == 1 })
	ask := platform.Trial{Name: "x", Instances: 1, Lease: time.Minute}
	r.until("the refusal of one without an address", func() bool {
		_, err := r.client.Try(t.Context(), "web", ask)
		return errors.Is(err, platform.ErrUnsupported)
	})
	if _, err := r.client.Try(t.Context(), "nobody", ask); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	ask.Instances = MaxInstances + 1
	if _, err := r.client.Try(t.Context(), "web", ask); err == nil || !strings.Contains(err.Error(), "instances: want") {
		t.Errorf("too many: %v", err)
	}
}
