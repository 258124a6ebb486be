package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestMain(m *testing.M) { kubernetestest.Main(m) }

const deployment, statefulSet = "Deployment", "StatefulSet"

// rig is a client of a cluster, whichever there is.
type rig struct {
	*kubernetestest.Cluster
	t      *testing.T
	client *Client
}

func newRig(t *testing.T, groups map[string]workload.Kubernetes, c *kubernetestest.Cluster, adjust ...func(*Config)) *rig {
	t.Helper()
	cfg := DefaultConfig()
	for _, f := range adjust {
		f(&cfg)
	}
	client, err := NewFor(c.Config(), cfg, groups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &rig{Cluster: c, t: t, client: client}
}

// shop is a rig whose group shop is a workload of that many replicas.
func shop(t *testing.T, kind string, replicas int, adjust ...func(map[string]any)) *rig {
	t.Helper()
	c := kubernetestest.New(t)
	k := c.Workload(kind, "shop", replicas, adjust...)
	return newRig(t, map[string]workload.Kubernetes{"shop": k}, c)
}

func (r *rig) state() platform.State {
	r.t.Helper()
	s, err := r.client.State(r.t.Context(), "shop")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// await reads the state until it is as wanted.
func (r *rig) await(what string, ok func(platform.State) bool) platform.State {
	r.t.Helper()
	var s platform.State
	r.Until(what, func() bool {
		s = r.state()
		return ok(s)
	})
	return s
}

func ready(n int) func(platform.State) bool {
	return func(s platform.State) bool { return s.Ready() == n && len(s.Instances) == n }
}

func (r *rig) scale(c platform.Change) platform.State {
	r.t.Helper()
	s, err := r.client.Scale(r.t.Context(), "shop", c)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) object(kind string) map[string]any {
	return r.Find("apps/v1", strings.ToLower(kind)+"s", "shop")
}

func TestScaleUpAndDown(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{deployment, statefulSet} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := shop(t, kind, 2)
			s := r.await("two ready pods", ready(2))
			if s.Desired != 2 || s.Generation != 0 || s.Foreign || s.Size != (platform.Size{CPUCores: 0.1, MemoryBytes: 64 << 20}) {
				t.Errorf("state %+v", s)
			}
			i := s.Instances[0]
			if !strings.HasSuffix(i.Address, ":8080") || i.Version == "" || i.StartTime.IsZero() || i.ReadyTime.Before(i.StartTime) || i.Size != s.Size {
				t.Errorf("instance %+v", i)
			}
			s = r.scale(platform.Change{Instances: 4, Generation: 7, ObservedDesired: 2})
			if s.Desired != 4 || s.Generation != 7 || s.Foreign {
				t.Errorf("after scaling up %+v", s)
			}
			r.await("four ready pods", ready(4))
			if s = r.scale(platform.Change{Instances: 1, Generation: 8, ObservedDesired: 4}); s.Desired != 1 || s.Generation != 8 {
				t.Errorf("after scaling down %+v", s)
			}
			r.await("one pod", ready(1))
			if s = r.scale(platform.Change{Instances: 0, Generation: 9, ObservedDesired: 1}); s.Desired != 0 {
				t.Errorf("asleep %+v", s)
			}
			r.await("no pod", ready(0))
		})
	}
}

func TestFences(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 3)
	r.scale(platform.Change{Instances: 4, Generation: 10, ObservedDesired: 3, Epoch: 2})
	for name, c := range map[string]platform.Change{
		"an older generation": {Instances: 5, Generation: 9, ObservedDesired: 4, Epoch: 2},
		"an older epoch":      {Instances: 5, Generation: 11, ObservedDesired: 4, Epoch: 1},
		"no epoch":            {Instances: 5, Generation: 11, ObservedDesired: 4},
		"another size":        {Instances: 5, Generation: 11, ObservedDesired: 3, Epoch: 2},
	} {
		if _, err := r.client.Scale(t.Context(), "shop", c); !errors.Is(err, platform.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	if s := r.scale(platform.Change{Instances: 4, Generation: 10, ObservedDesired: 3, Epoch: 2}); s.Desired != 4 || s.Generation != 10 {
		t.Errorf("the same change again gives %+v", s)
	}
	if err := r.client.Fence(t.Context(), "shop", 3); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Fence(t.Context(), "shop", 2); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("an old leader fences: %v", err)
	}
	if s := r.state(); s.Generation != 10 || s.Foreign {
		t.Errorf("the fence changed the state to %+v", s)
	}
	if _, err := r.client.Scale(t.Context(), "shop", platform.Change{Instances: 5, Generation: 11, ObservedDesired: 4, Epoch: 2}); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("a leader that was fenced off writes: %v", err)
	}
	r.scale(platform.Change{Instances: 5, Generation: 11, ObservedDesired: 4, Epoch: 3})
}

func TestSomeoneElsesChangeIsSeen(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 2)
	r.Patch("apps/v1", "deployments", "shop", map[string]any{"spec": map[string]any{"replicas": 3}}, "scale")
	if s := r.state(); s.Foreign {
		t.Errorf("nothing was changed by us yet: %+v", s)
	}
	r.scale(platform.Change{Instances: 4, Generation: 1, ObservedDesired: 3})
	r.Patch("apps/v1", "deployments", "shop", map[string]any{"spec": map[string]any{"replicas": 6}}, "scale")
	if s := r.state(); !s.Foreign || s.Desired != 6 || s.Generation != 1 {
		t.Errorf("state %+v, want someone else's 6", s)
	}
}

func TestCrashBetweenClaimAndChange(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 2)
	r.scale(platform.Change{Instances: 3, Generation: 5, ObservedDesired: 2})
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, "/scale") {
			return kubernetestest.Sever
		}
		return 0
	})
	if _, err := r.client.Scale(t.Context(), "shop", platform.Change{Instances: 5, Generation: 6, ObservedDesired: 3}); err == nil {
		t.Fatal("scaled through a cut connection")
	}
	r.Faults.Inject(nil)
	var s platform.State
	r.Until("the API server to be asked again", func() bool {
		var err error
		s, err = r.client.State(t.Context(), "shop")
		return err == nil
	})
	if s.Generation != 5 || s.Desired != 3 || s.Foreign {
		t.Errorf("state %+v, want the change before", s)
	}
	if s = r.scale(platform.Change{Instances: 5, Generation: 6, ObservedDesired: 3}); s.Generation != 6 || s.Desired != 5 {
		t.Errorf("after the second try %+v", s)
	}
}

func TestCheapestPodsGoFirst(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 3)
	s := r.await("three ready pods", ready(3))
	precious := strings.Split(s.Instances[2].ID, "/")[0]
	cheap := strings.Split(s.Instances[0].ID, "/")[0]
	r.Patch("v1", "pods", cheap, map[string]any{"metadata": map[string]any{"annotations": map[string]any{costAnnotation: "-5"}}})
	r.scale(platform.Change{Instances: 2, Generation: 1, ObservedDesired: 3})
	s = r.await("two pods", ready(2))
	left := fmt.Sprint(s.Instances)
	if strings.Contains(left, cheap+"/") || !strings.Contains(left, precious+"/") {
		t.Errorf("%s went, not %s: %s", precious, cheap, left)
	}
}

func TestUnknownGroupAndMissingObject(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	r := newRig(t, map[string]workload.Kubernetes{
		"gone":  {Namespace: c.Namespace, Name: "gone", Port: 80},
		"alien": {Namespace: c.Namespace, Name: "x", APIVersion: "not.there/v1", Kind: "Thing", Port: 80},
	}, c)
	for _, group := range []string{"unknown", "gone"} {
		if _, err := r.client.State(t.Context(), group); !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("group %s: %v, want not found", group, err)
		}
	}
	if _, err := r.client.State(t.Context(), "alien"); err == nil {
		t.Error("a kind that is not there was read")
	}
}

func TestConflictsOfVersionAreTriedAgain(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 2)
	left := 3
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method != http.MethodGet && left > 0 {
			left--
			return http.StatusConflict
		}
		return 0
	})
	if s := r.scale(platform.Change{Instances: 3, Generation: 1, ObservedDesired: 2}); s.Desired != 3 {
		t.Errorf("state %+v", s)
	}
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method != http.MethodGet {
			return http.StatusConflict
		}
		return 0
	})
	r.Faults.Requests()
	_, err := r.client.Scale(t.Context(), "shop", platform.Change{Instances: 4, Generation: 2, ObservedDesired: 3})
	writes := 0
	for _, q := range r.Faults.Requests() {
		if q.Status == http.StatusConflict {
			writes++
		}
	}
	if !errors.Is(err, platform.ErrConflict) || writes != conflictTries {
		t.Errorf("%v after %d writes, want a conflict after %d", err, writes, conflictTries)
	}
}

func TestServerThatIsAwayIsAskedOnceASecond(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"cut": kubernetestest.Sever, "429": 429, "503": 503} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := shop(t, deployment, 1)
			r.state()
			r.Faults.Inject(func(*http.Request) int { return status })
			r.Faults.Requests()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			calls := 0
			for ctx.Err() == nil {
				if _, err := r.client.State(ctx, "shop"); err == nil {
					t.Fatal("read the state of a server that is away")
				}
				calls++
				pause(ctx, 5*time.Millisecond)
			}
			if n := len(r.Faults.Requests()); n < 1 || n > 5 { // one more for an old connection that is found to be closed
				t.Errorf("%d requests within 3 s of %d calls, want one a second", n, calls)
			}
			r.Faults.Inject(nil)
			r.Until("it to be back", func() bool {
				_, err := r.client.State(t.Context(), "shop")
				return err == nil
			})
		})
	}
}

func TestErrorOfOneObjectHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method == http.MethodPatch {
			return http.StatusInternalServerError
		}
		return 0
	})
	if _, err := r.client.Scale(t.Context(), "shop", platform.Change{Instances: 2, Generation: 1, ObservedDesired: 1}); err == nil {
		t.Error("scaled although the API server refused")
	}
	r.state()
}
