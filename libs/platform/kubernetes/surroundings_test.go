package kubernetes

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func (r *rig) surroundings() platform.Surroundings {
	r.t.Helper()
	s, err := r.client.Surroundings(r.t.Context(), "shop")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func ref(name string) map[string]any {
	return map[string]any{"apiVersion": "apps/v1", "kind": deployment, "name": name}
}

func TestNothingBoundsALonelyWorkload(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	if s := r.surroundings(); len(s.Controllers)+len(s.Resizers) > 0 || s.Addable.Set || s.Removable.Set {
		t.Errorf("surroundings %+v", s)
	}
}

func TestOtherControllersAreFound(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 1)
	for name, target := range map[string]string{"web": "shop", "else": "another"} {
		r.Create("autoscaling/v2", "horizontalpodautoscalers", map[string]any{
			"kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"scaleTargetRef": ref(target), "minReplicas": 2, "maxReplicas": 10},
		})
	}
	if kubernetestest.Real() { // the stand-in knows them
		define(r.Cluster, "keda.sh", "v1alpha1", "ScaledObject", "scaledobjects", false)
		define(r.Cluster, "autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers", false)
	}
	r.Create("keda.sh/v1alpha1", "scaledobjects", map[string]any{
		"kind": "ScaledObject", "metadata": map[string]any{"name": "queue"},
		"spec": map[string]any{"scaleTargetRef": map[string]any{"name": "shop"}, "maxReplicaCount": 5},
	})
	for name, mode := range map[string]string{"big": "Auto", "advice": "Off"} {
		r.Create("autoscaling.k8s.io/v1", "verticalpodautoscalers", map[string]any{
			"kind": "VerticalPodAutoscaler", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"targetRef": ref("shop"), "updatePolicy": map[string]any{"updateMode": mode}},
		})
	}
	s := r.surroundings()
	if want := []string{`HorizontalPodAutoscaler "web" (2 to 10)`, `ScaledObject "queue" (0 to 5)`}; !slices.Equal(s.Controllers, want) {
		t.Errorf("controllers %q, want %q", s.Controllers, want)
	}
	if !slices.Equal(s.Resizers, []string{`VerticalPodAutoscaler "big"`}) {
		t.Errorf("resizers %q", s.Resizers)
	}
}

func TestDisruptionBudgetBounds(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 4)
	r.await("four ready pods", ready(4))
	budget := func(name, app string, least, allowed int) {
		o := r.Create("policy/v1", "poddisruptionbudgets", map[string]any{
			"kind": "PodDisruptionBudget", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"minAvailable": least, "selector": map[string]any{"matchLabels": map[string]any{"app": app}}},
		})
		if r.Fake != nil { // nothing computes the status there
			o["status"] = map[string]any{"disruptionsAllowed": allowed, "observedGeneration": 1}
			r.Patch("policy/v1", "poddisruptionbudgets", name, o)
		}
	}
	budget("strict", "shop", 3, 1)
	budget("of-others", "other", 0, 0)
	var s platform.Surroundings
	r.Until("the budget to be known", func() bool { s = r.surroundings(); return s.Removable.N == 1 })
	if !s.Removable.Set || s.Removable.Reason != `PodDisruptionBudget "strict"` {
		t.Errorf("removable %+v", s.Removable)
	}
}

func TestQuotaBounds(t *testing.T) {
	t.Parallel()
	r := shop(t, deployment, 2)
	r.await("two ready pods", ready(2))
	o := r.Create("v1", "resourcequotas", map[string]any{
		"kind": "ResourceQuota", "metadata": map[string]any{"name": "team"},
		"spec": map[string]any{"hard": map[string]any{"requests.cpu": "550m", "pods": "50"}},
	})
	if r.Fake != nil {
		o["status"] = map[string]any{"hard": map[string]any{"requests.cpu": "550m", "pods": "50"}, "used": map[string]any{"requests.cpu": "200m", "pods": "2"}}
		r.Patch("v1", "resourcequotas", "team", o)
	}
	var s platform.Surroundings
	r.Until("the quota to be known", func() bool { s = r.surroundings(); return s.Addable.N == 3 })
	if !strings.Contains(s.Addable.Reason, `quota "team": 200m of 550m requests.cpu are used`) {
		t.Errorf("addable %+v", s.Addable)
	}
}

func TestNodesBound(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t) // a real cluster's node is shared by the tests
	node := func(name, cpu string, cordoned bool) {
		c.Create("v1", "nodes", map[string]any{
			"kind": "Node", "metadata": map[string]any{"name": name}, "spec": map[string]any{"unschedulable": cordoned},
			"status": map[string]any{"allocatable": map[string]any{"cpu": cpu, "memory": "1Gi", "pods": "110"}},
		})
	}
	node("small", "300m", false)
	node("large", "8", false) // its memory bounds: 16 pods
	node("cordoned", "8", true)
	k := c.Workload(deployment, "shop", 2, func(o map[string]any) {
		o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["nodeName"] = "small"
	})
	r := newRig(t, groupsOf(k), c, func(cfg *Config) { cfg.NodeHeadroom = true })
	if s := r.surroundings(); s.Addable.N != 1+16 {
		t.Errorf("addable %+v, want 1 on the small node and 16 on the large one", s.Addable)
	}
}

// A kind that the API server did not have when it was asked is found when it has it: others install theirs at any time.
func TestKindsThatComeLaterAreFound(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	r := newRig(t, map[string]workload.Kubernetes{"shop": c.Workload(deployment, "shop", 2)}, c)
	var clock atomic.Int64
	r.client.looked.now = func() time.Time { return time.Unix(clock.Load(), 0) }
	c.Create("keda.sh/v1alpha1", "scaledobjects", map[string]any{
		"kind": "ScaledObject", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{"scaleTargetRef": map[string]any{"name": "shop"}},
	})
	hide := func(groups ...string) {
		c.Faults.Inject(func(r *http.Request) int {
			if slices.Contains(groups, strings.TrimPrefix(r.URL.Path, "/apis/")) {
				return http.StatusNotFound
			}
			return 0
		})
	}
	hide("apps/v1", "keda.sh/v1alpha1")
	if _, err := r.client.State(t.Context(), "shop"); err == nil {
		t.Fatal("found what is not there")
	}
	hide("keda.sh/v1alpha1")
	controllers := func() int {
		t.Helper()
		s, err := r.client.Surroundings(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		return len(s.Controllers)
	}
	clock.Add(int64(lookForOwn / time.Second))
	if n := controllers(); n != 0 {
		t.Errorf("%d other controllers", n)
	}
	c.Faults.Requests()
	hide()
	clock.Add(int64(lookForOthers/time.Second) - 1)
	if n := controllers(); n != 0 {
		t.Errorf("%d other controllers before it is looked for anew", n)
	}
	for _, q := range c.Faults.Requests() {
		if q.Path == "/apis" {
			t.Error("asked again too early")
		}
	}
	clock.Add(1)
	if n := controllers(); n != 1 {
		t.Errorf("%d other controllers, want the one that came", n)
	}
}
