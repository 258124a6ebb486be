package kubernetes

import (
	"fmt"
	"testing"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// resourceDefinition is one of a resource that takes anything; scale says whether it has a scale subresource.
func resourceDefinition(group, version, kind, plural string, scale bool) map[string]any {
	subresources := map[string]any{"status": map[string]any{}}
	if scale {
		subresources["scale"] = map[string]any{
			"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector",
		}
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{
			"name":        plural + "." + group,
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, in a test"}, // which groups of Kubernetes' own ask for
		},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": plural},
			"versions": []any{map[string]any{
				"name": version, "served": true, "storage": true, "subresources": subresources,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}
}

// define installs a resource and returns when it is served.
func define(c *kubernetestest.Cluster, group, version, kind, plural string, scale bool) {
	c.Apply("apiextensions.k8s.io/v1", "customresourcedefinitions", resourceDefinition(group, version, kind, plural, scale))
	c.Until(plural+" to be served", func() bool { return c.Serves(group+"/"+version, plural) })
}

// TestAnyKindWithAScaleSubresource scales what no code here knows, as an Argo Rollout is: discovery says where it is, and the
// scale subresource how many are wanted and which pods they are. Its own controller is the test.
func TestAnyKindWithAScaleSubresource(t *testing.T) {
	t.Parallel()
	if !kubernetestest.Real() {
		t.Skipf("NOT TESTED: the stand-in has no resources of others; `make test-kubernetes` has")
	}
	c := kubernetestest.New(t)
	define(c, "argoproj.io", "v1alpha1", "Rollout", "rollouts", true)
	c.Create("argoproj.io/v1alpha1", "rollouts", map[string]any{
		"kind": "Rollout", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{"replicas": 2},
	})
	made := 0
	control := func(replicas int) {
		c.Patch("argoproj.io/v1alpha1", "rollouts", "shop", map[string]any{"status": map[string]any{"replicas": replicas, "selector": "app=shop"}}, "status")
		for ; made < replicas; made++ {
			c.Create("v1", "pods", map[string]any{
				"kind": "Pod", "metadata": map[string]any{"name": fmt.Sprint("shop-", made), "labels": map[string]any{"app": "shop"}},
				"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": "example.org/shop:1"}}},
			})
		}
		for ; made > replicas; made-- {
			c.Delete("v1", "pods", fmt.Sprint("shop-", made-1))
		}
	}
	control(2)
	k := workload.Kubernetes{Namespace: c.Namespace, APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "shop", Port: 8080}
	r := newRig(t, map[string]workload.Kubernetes{"shop": k}, c)
	if err := r.client.Fence(t.Context(), "shop", 1); err != nil {
		t.Fatal(err)
	}
	r.await("two ready pods", ready(2))
	if s := r.scale(platform.Change{Instances: 4, Generation: 7, ObservedDesired: 2, Epoch: 1}); s.Desired != 4 || s.Generation != 7 || s.Foreign {
		t.Errorf("after scaling up %+v", s)
	}
	control(4)
	r.await("four ready pods", ready(4))
	if err := r.client.Fence(t.Context(), "shop", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Scale(t.Context(), "shop", platform.Change{Instances: 1, Generation: 8, ObservedDesired: 4, Epoch: 1}); err == nil {
		t.Error("a leader that was fenced off scaled it")
	}
	if s := r.scale(platform.Change{Instances: 1, Generation: 8, ObservedDesired: 4, Epoch: 2}); s.Desired != 1 {
		t.Errorf("after scaling down %+v", s)
	}
	control(1)
	r.await("one pod", ready(1))
}
