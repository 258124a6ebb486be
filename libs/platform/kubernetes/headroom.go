package kubernetes

import (
	"context"
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
)

var (
	quotaResource = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	nodeResource  = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
)

// quotas bounds what may be added by the ResourceQuotas of the namespace. A quota with a scope is left to the API server:
// it may or may not count these pods.
func (c *Client) quotas(ctx context.Context, r *reading, addable *platform.Bound) error {
	list, err := c.dynamic.Resource(quotaResource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list quotas: %w", err)
	}
	need := r.need()
	for i := range list.Items {
		var q corev1.ResourceQuota
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &q); err != nil {
			return fmt.Errorf("decode quota %s: %w", list.Items[i].GetName(), err)
		}
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue
		}
		for name, hard := range q.Status.Hard {
			each, counted := need[name]
			if !counted || each.Sign() <= 0 {
				continue
			}
			used := q.Status.Used[name]
			addable.Tighten(fits(hard, used, each), fmt.Sprintf("quota %q: %s of %s %s are used", q.Name, used.String(), hard.String(), name))
		}
	}
	// Pods that were asked for and are not there yet take their share too.
	if addable.Set {
		addable.N = max(0, addable.N-max(0, r.replicas-len(r.pods)))
	}
	return nil
}

// fits is how many times each goes into what is left.
func fits(hard, used, each resource.Quantity) int {
	left := hard.AsApproximateFloat64() - used.AsApproximateFloat64()
	return int(math.Floor(left/each.AsApproximateFloat64() + 1e-9))
}

// need is what one more pod takes of a quota, by the quota's names.
func (r *reading) need() corev1.ResourceList {
	need := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1"), "count/pods": resource.MustParse("1")}
	spec := r.podSpec()
	if spec == nil {
		return need
	}
	add := func(name corev1.ResourceName, q resource.Quantity) {
		sum := need[name]
		sum.Add(q)
		need[name] = sum
	}
	for _, c := range spec.Containers {
		for name, q := range c.Resources.Requests {
			add(name, q) // `cpu` in a quota means requests.cpu
			add("requests."+name, q)
		}
		for name, q := range c.Resources.Limits {
			add("limits."+name, q)
		}
	}
	return need
}

// podSpec is what the next pod will be: the template, or, where that is not known, the youngest pod.
func (r *reading) podSpec() *corev1.PodSpec {
	if t := r.template(); t != nil {
		return &t.Spec
	}
	if n := len(r.pods); n > 0 {
		return &r.pods[n-1].Spec
	}
	return nil
}

// nodes bounds what may be added by the room on the nodes that the pods may run on, by CPU, memory and number of pods.
// Affinities and spread are left to the scheduler.
func (c *Client) nodes(ctx context.Context, r *reading, addable *platform.Bound) error {
	spec := r.podSpec()
	if spec == nil {
		return nil
	}
	nodes, err := c.dynamic.Resource(nodeResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	pods, err := c.dynamic.Resource(podResource).List(ctx, metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	if err != nil {
		return fmt.Errorf("list pods of all nodes: %w", err)
	}
	used := map[string]corev1.ResourceList{}
	for i := range pods.Items {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(pods.Items[i].Object, &p); err != nil {
			return fmt.Errorf("decode pod %s: %w", pods.Items[i].GetName(), err)
		}
		if used[p.Spec.NodeName] == nil {
			used[p.Spec.NodeName] = corev1.ResourceList{}
		}
		addRequests(used[p.Spec.NodeName], &p.Spec)
	}
	each := corev1.ResourceList{}
	addRequests(each, spec)
	room := -max(0, r.replicas-len(r.pods))
	for i := range nodes.Items {
		var n corev1.Node
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(nodes.Items[i].Object, &n); err != nil {
			return fmt.Errorf("decode node %s: %w", nodes.Items[i].GetName(), err)
		}
		if usable(&n, spec) {
			room += roomOn(n.Status.Allocatable, used[n.Name], each)
		}
	}
	addable.Tighten(room, fmt.Sprintf("the nodes have room for %d more", max(0, room)))
	return nil
}

func addRequests(sum corev1.ResourceList, spec *corev1.PodSpec) {
	add := func(name corev1.ResourceName, q resource.Quantity) {
		s := sum[name]
		s.Add(q)
		sum[name] = s
	}
	add(corev1.ResourcePods, resource.MustParse("1"))
	for _, c := range spec.Containers {
		add(corev1.ResourceCPU, c.Resources.Requests[corev1.ResourceCPU])
		add(corev1.ResourceMemory, c.Resources.Requests[corev1.ResourceMemory])
	}
}

// usable says whether a node takes such pods at all.
func usable(n *corev1.Node, spec *corev1.PodSpec) bool {
	if n.Spec.Unschedulable {
		return false
	}
	for key, want := range spec.NodeSelector {
		if n.Labels[key] != want {
			return false
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectPreferNoSchedule {
			continue
		}
		tolerated := false
		for _, tol := range spec.Tolerations {
			tolerated = tolerated || (tol.Key == "" || tol.Key == t.Key) && (tol.Operator == corev1.TolerationOpExists || tol.Value == t.Value) &&
				(tol.Effect == "" || tol.Effect == t.Effect)
		}
		if !tolerated {
			return false
		}
	}
	return true
}

// roomOn is how many pods more go onto a node.
func roomOn(allocatable, used, each corev1.ResourceList) int {
	room := math.MaxInt32
	for name, q := range each {
		if q.Sign() > 0 {
			room = min(room, fits(allocatable[name], used[name], q))
		}
	}
	return max(0, room)
}
