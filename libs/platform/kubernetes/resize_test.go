package kubernetes

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// ids are those of the instances.
func ids(s platform.State) []string {
	out := map[string]bool{}
	for _, i := range s.Instances {
		out[i.ID] = true
	}
	return slices.Sorted(maps.Keys(out))
}

func sized(s platform.State, size platform.Size) int {
	n := 0
	for _, i := range s.Instances {
		if !differs(i.Size, size) {
			n++
		}
	}
	return n
}

func TestResizeInPlace(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{deployment, statefulSet} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := shop(t, kind, 3, func(o map[string]any) {
				if kind == statefulSet {
					o["spec"].(map[string]any)["updateStrategy"] = map[string]any{"type": "OnDelete"}
				}
			})
			before := ids(r.await("three ready pods", ready(3)))
			size := platform.Size{CPUCores: 0.25, MemoryBytes: 128 << 20, NetworkBytesPerSecond: 1e6}
			change := platform.Change{Instances: 3, Generation: 1, ObservedDesired: 3, Size: size}
			r.scale(change)
			s := r.await("the first pod to have its size", func(s platform.State) bool { return sized(s, size) > 0 })
			if n := sized(s, size); n != 1 {
				t.Errorf("%d pods were changed at once", n)
			}
			steps := 0
			s = r.await("all to have their size", func(s platform.State) bool {
				if steps++; sized(s, size) == 3 && !differs(s.Size, size) {
					return true
				}
				r.scale(change)
				return false
			})
			if got := ids(s); !slices.Equal(got, before) {
				t.Errorf("pods were replaced: %v, before %v", got, before)
			}
			if s.Size.NetworkBytesPerSecond != 1e6 {
				t.Errorf("bandwidth of the template is %v", s.Size)
			}
			if spec := r.object(kind)["spec"].(map[string]any); spec["paused"] == true {
				t.Error("left paused")
			}
			// Pods that are made from now on agree, and none is replaced for it.
			r.scale(platform.Change{Instances: 4, Generation: 2, ObservedDesired: 3})
			s = r.await("four pods of the same size", func(s platform.State) bool { return ready(4)(s) && sized(s, size) == 4 })
			for _, id := range before {
				if !slices.Contains(ids(s), id) {
					t.Errorf("%s was replaced", id)
				}
			}
		})
	}
}

func TestRollingUpdateWhereResizeIsNotOffered(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 2)
	before := ids(r.await("two ready pods", ready(2)))
	r.Faults.Inject(func(q *http.Request) int {
		if strings.HasSuffix(q.URL.Path, "/resize") {
			return http.StatusNotFound
		}
		return 0
	})
	size := platform.Size{CPUCores: 0.2}
	r.scale(platform.Change{Instances: 2, Generation: 1, ObservedDesired: 2, Size: size})
	spec := r.object(deployment)["spec"].(map[string]any)
	if got := fmt.Sprint(spec["strategy"]); !strings.Contains(got, "maxUnavailable:0") {
		t.Errorf("strategy %s: users would miss instances", got)
	}
	if s := r.state(); differs(s.Size, size) {
		t.Errorf("template has %v", s.Size)
	}
	if r.Fake != nil {
		return // it rolls nothing out
	}
	s := r.await("both to be replaced", func(s platform.State) bool { return ready(2)(s) && sized(s, size) == 2 })
	for _, id := range ids(s) {
		if slices.Contains(before, id) {
			t.Errorf("%s was not replaced", id)
		}
	}
}

// TestResizeCutShort ends a resize between pausing the Deployment and letting it go on.
func TestResizeCutShort(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	before := ids(r.await("a ready pod", ready(1)))
	size := platform.Size{CPUCores: 0.2}
	change := platform.Change{Instances: 1, Generation: 1, ObservedDesired: 1, Size: size}
	r.scale(change)
	r.await("the pod to have its size", func(s platform.State) bool { return sized(s, size) == 1 })
	r.Faults.Inject(func(q *http.Request) int {
		if q.Method != http.MethodPatch || !strings.HasSuffix(q.URL.Path, "/deployments/shop") {
			return 0
		}
		// How many patches come before it is not fixed: one that meets another writer's is made again.
		body, err := io.ReadAll(q.Body)
		if q.Body = io.NopCloser(bytes.NewReader(body)); err == nil && bytes.Contains(body, []byte(`"paused":false`)) {
			return http.StatusInternalServerError
		}
		return 0
	})
	if _, err := r.client.Scale(t.Context(), "shop", change); err == nil {
		t.Fatal("not cut short")
	}
	if spec := r.object(deployment)["spec"].(map[string]any); spec["paused"] != true {
		t.Fatalf("spec %v, want it to be caught paused", spec)
	}
	r.Faults.Inject(nil)
	r.scale(change)
	s := r.await("it to go on", func(s platform.State) bool {
		return !differs(s.Size, size) && r.object(deployment)["spec"].(map[string]any)["paused"] != true
	})
	if got := ids(s); !slices.Equal(got, before) {
		t.Errorf("pods were replaced: %v, before %v", got, before)
	}
}

func TestLimitsKeepTheirProportion(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	k := c.Workload(deployment, "shop", 1, func(o map[string]any) {
		containers := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
		containers[0].(map[string]any)["resources"] = map[string]any{
			"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}, "limits": map[string]any{"cpu": "300m", "memory": "64Mi"},
		}
	})
	r := newRig(t, map[string]workload.Kubernetes{"shop": k}, c)
	r.await("a ready pod", ready(1))
	r.scale(platform.Change{Instances: 1, Generation: 1, ObservedDesired: 1, Size: platform.Size{CPUCores: 0.2, MemoryBytes: 128 << 20}})
	r.await("its size", func(s platform.State) bool {
		return sized(s, platform.Size{CPUCores: 0.2, MemoryBytes: 128 << 20}) == 1
	})
	pod := r.List("v1", "pods")[0]
	got := fmt.Sprint(pod.Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["resources"])
	if want := "map[limits:map[cpu:600m memory:128Mi] requests:map[cpu:200m memory:128Mi]]"; got != want {
		t.Errorf("resources %s, want %s", got, want)
	}
}
