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

func TestInstancesAreMadeLikeTheTemplate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	template := r.Compose("shop", "web")
	r.Compose("shop", "database") // of no concern
	r.start()
	s := r.await("the template", ready(1))
	if s.Generation != 0 || s.Foreign || s.Size != (platform.Size{CPUCores: 0.5, MemoryBytes: 64 << 20}) || s.Instances[0].Version != "4bcff63911fc" {
		t.Errorf("state %+v", s)
	}
	if !s.Instances[0].ReadyTime.IsZero() {
		t.Errorf("the start-up of an instance that was there before is told as %v", s.Instances[0])
	}
	r.scale(3)
	s = r.await("three instances", ready(3))
	for _, i := range s.Instances[1:] {
		if i.ReadyTime.Before(i.StartTime) || i.StartTime.IsZero() || i.Address == s.Instances[0].Address || i.Version != s.Instances[0].Version {
			t.Errorf("instance %+v", i)
		}
	}
	want := template.Inspect()
	for n, name := range []string{"shop-web-2", "shop-web-3"} {
		c := r.Find(name)
		if c == nil {
			t.Fatalf("no container is called %s", name)
		}
		got := c.Inspect()
		if got.Config.Image != want.Image || !slices.Equal(got.Config.Env, want.Config.Env) || !slices.Equal(got.HostConfig.Binds, want.HostConfig.Binds) ||
			got.HostConfig.NanoCPUs != want.HostConfig.NanoCPUs || got.HostConfig.RestartPolicy != want.HostConfig.RestartPolicy {
			t.Errorf("%s has %+v, %+v", name, got.Config, got.HostConfig)
		}
		if got.Config.Hostname == want.Config.Hostname || len(got.HostConfig.PortBindings) > 0 {
			t.Errorf("%s shares host name or port with the template", name)
		}
		if l := got.Config.Labels; l["foreshadow.dev/group"] != "web" || l["com.docker.compose.container-number"] != []string{"2", "3"}[n] || l["com.docker.compose.service"] != "web" {
			t.Errorf("%s has labels %v", name, l)
		}
		if a := got.NetworkSettings.Networks[dockertest.Network].Aliases; !slices.Equal(a, []string{"web"}) {
			t.Errorf("%s is known as %v", name, a)
		}
	}
}

func TestFewerAreDrainedThenRemovedAndTheTemplateGoesLast(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	template := r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	r.scale(3)
	r.await("three instances", ready(3))
	third := r.Find("shop-web-3")
	if s := r.scale(2); s.Desired != 2 {
		t.Errorf("state %+v", s)
	}
	r.await("the youngest to be announced as draining, or to be gone", func(s platform.State) bool {
		return len(s.Instances) == 2 || strings.HasPrefix(s.Instances[2].ID, "shop-web-3/") && s.Instances[2].Phase == platform.Draining
	})
	r.await("two instances", ready(2))
	if got := third.Stops(); !slices.Equal(got, []string{"7"}) {
		t.Errorf("it was given %v s to stop, want 7", got)
	}
	if r.Find("shop-web-3") != nil {
		t.Error("it was not removed")
	}
	r.scale(0)
	r.await("none", ready(0))
	if r.Find("shop-web-1") == nil || template.Inspect().State.Running || r.Find("shop-web-2") != nil {
		t.Errorf("the template was removed, or runs still: %+v", template.Inspect().State)
	}
	first := template.Inspect().State.StartedAt
	r.scale(2)
	s := r.await("two again", ready(2))
	if template.Inspect().State.StartedAt == first || !strings.HasPrefix(s.Instances[0].ID, "shop-web-1/") || s.Instances[0].ReadyTime.IsZero() {
		t.Errorf("the template was not started again: %+v", s)
	}
}

func TestFailedInstancesAreReplaced(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*dockertest.Container){
		"it ended": func(c *dockertest.Container) { c.Crash() },
		"it fails": func(c *dockertest.Container) { c.Answer(http.StatusInternalServerError) },
	} {
		for _, victim := range []string{"shop-web-1", "shop-web-2"} {
			t.Run(name+" "+victim, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.Compose("shop", "web")
				r.start()
				r.await("the template", ready(1))
				r.scale(2)
				before := r.await("two instances", ready(2))
				breakIt(r.Find(victim))
				failed := before.Instances[slices.IndexFunc(before.Instances, func(i platform.Instance) bool { return strings.HasPrefix(i.ID, victim+"/") })]
				s := r.await("another in its place", func(s platform.State) bool {
					return ready(2)(s) && !slices.ContainsFunc(s.Instances, func(i platform.Instance) bool { return i.ID == failed.ID })
				})
				if s.Foreign {
					t.Errorf("taken for somebody else's doing: %+v", s)
				}
				if victim == "shop-web-1" && r.Find(victim) == nil {
					t.Error("the template was removed")
				}
			})
		}
	}
}

func TestOneThatIsNotReadyInTimeIsReplacedAgainAndAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(d *workload.Docker) { d.StartTimeout = 20 * time.Millisecond })
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	r.Answer(http.StatusServiceUnavailable)
	made := 0
	r.until("several tries", func() bool {
		for _, q := range r.Requests() {
			if strings.HasSuffix(q, "/create") || strings.HasSuffix(q, "/start") {
				made++
			}
		}
		return made >= 6
	})
	r.Answer(http.StatusOK)
	r.await("it to serve in the end", ready(1))
	r.until("what failed to be gone", func() bool { return len(r.All()) <= 2 })
}

func TestChangesAreFenced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	if _, err := r.client.Scale(t.Context(), "web", platform.Change{Instances: 2, Generation: 7, ObservedDesired: 1}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]platform.Change{
		"an older generation": {Instances: 5, Generation: 6, ObservedDesired: 2},
		"another number":      {Instances: 5, Generation: 8, ObservedDesired: 1},
	} {
		if _, err := r.client.Scale(t.Context(), "web", c); !errors.Is(err, platform.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	for _, n := range []int{-1, MaxInstances + 1} {
		if _, err := r.client.Scale(t.Context(), "web", platform.Change{Instances: n, Generation: 8, ObservedDesired: 2}); err == nil || errors.Is(err, platform.ErrConflict) {
			t.Errorf("%d instances: %v", n, err)
		}
	}
	if s := r.await("two instances", ready(2)); s.Generation != 7 {
		t.Errorf("state %+v", s)
	}
	if _, err := r.client.State(t.Context(), "nobody"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("unknown group: %v", err)
	}
}

func TestSomebodyElsesChangeIsSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	r.scale(2)
	r.await("two instances", ready(2))
	r.Compose("shop", "web") // docker compose up --scale web=3
	s := r.await("a third of a person's", func(s platform.State) bool { return s.Foreign && ready(3)(s) })
	if s.Generation != 1 {
		t.Errorf("state %+v", s)
	}
	r.Find("shop-web-2").Remove()
	r.await("a person to have removed one", func(s platform.State) bool { return s.Foreign && ready(2)(s) })
	r.scale(4)
	r.await("our own again", func(s platform.State) bool { return !s.Foreign && ready(4)(s) })
}

func TestAnAgentGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	r.scale(3)
	before := r.await("three instances", ready(3))
	r.stop()
	// What ended meanwhile is replaced, what was half made is removed, and what a person did is a person's.
	r.Find("shop-web-2").Crash()
	r.start()
	s := r.await("three instances again", ready(3))
	if s.Generation != before.Generation || s.Foreign || s.Revision <= before.Revision || s.Instances[0] != before.Instances[0] && s.Instances[0].ID != before.Instances[0].ID {
		t.Errorf("before %+v, after %+v", before, s)
	}
	r.stop()
	r.Compose("shop", "web")
	r.start()
	if s = r.await("a person's fourth", ready(4)); !s.Foreign {
		t.Errorf("state %+v", s)
	}
}

func TestTheEngineMayBeAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.Inject(func(*http.Request) int { return http.StatusServiceUnavailable })
	r.start()
	r.until("the agent to say so", func() bool {
		_, err := r.client.State(t.Context(), "web")
		return err != nil && strings.Contains(err.Error(), "away")
	})
	if r.ready() {
		t.Error("it calls itself ready")
	}
	r.Inject(nil)
	before := r.await("the template", ready(1))
	if !r.ready() {
		t.Errorf("not ready: %v", r.unready)
	}
	r.Inject(func(*http.Request) int { return http.StatusServiceUnavailable })
	r.until("the agent to notice", func() bool {
		_, err := r.client.State(t.Context(), "web")
		return err != nil
	})
	_, err := r.client.Scale(t.Context(), "web", platform.Change{Instances: 5, Generation: 9, ObservedDesired: 1})
	if err == nil || errors.Is(err, platform.ErrConflict) {
		t.Errorf("a change was accepted that cannot be made: %v", err)
	}
	if _, err := r.client.Usage(t.Context(), "web"); err == nil {
		t.Error("usage is known of an engine that is away")
	}
	r.Inject(nil)
	if s := r.await("it to be back", ready(1)); s.Instances[0].ID != before.Instances[0].ID {
		t.Errorf("before %+v, after %+v", before, s)
	}
}

func TestWhatTheEngineRefusesIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	refused := 0
	r.Inject(func(q *http.Request) int {
		if q.Method == http.MethodPost && refused < 3 && (strings.HasSuffix(q.URL.Path, "/create") || strings.HasSuffix(q.URL.Path, "/start")) {
			refused++
			return http.StatusInternalServerError
		}
		return 0
	})
	r.scale(2)
	r.await("two instances", ready(2))
	r.Inject(nil)
	if refused != 3 || len(r.All()) != 2 {
		t.Errorf("%d refusals, %d containers", refused, len(r.All()))
	}
}

func TestWithoutAPathTheHealthCheckCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(d *workload.Docker) { d.ReadyPath = "" })
	c := r.Compose("shop", "web")
	c.SetHealth(container.Starting)
	r.start()
	r.await("it to start", func(s platform.State) bool { return len(s.Instances) == 1 && s.Instances[0].Phase == platform.Starting })
	c.SetHealth(container.Healthy)
	r.await("it to be healthy", ready(1))
}

func TestAGroupWithoutContainersIsNotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.until("the agent to know", func() bool {
		_, err := r.client.State(t.Context(), "web")
		return errors.Is(err, platform.ErrNotFound)
	})
}
