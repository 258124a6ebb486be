package kubernetestest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// resource is one that the stand-in knows.
type resource struct {
	group, version, plural, kind string
	clusterWide                  bool
	subresources                 []string
	// like is the Go type that says how lists merge; nil for custom resources.
	like any
}

var resources = []resource{
	{group: "", version: "v1", plural: "pods", kind: "Pod", subresources: []string{"resize", "status"}, like: corev1.Pod{}},
	{group: "", version: "v1", plural: "resourcequotas", kind: "ResourceQuota", like: corev1.ResourceQuota{}},
	{group: "", version: "v1", plural: "configmaps", kind: "ConfigMap", like: corev1.ConfigMap{}},
	{group: "", version: "v1", plural: "nodes", kind: "Node", clusterWide: true, like: corev1.Node{}},
	{group: "apps", version: "v1", plural: "deployments", kind: "Deployment", subresources: []string{"scale"}, like: appsv1.Deployment{}},
	{group: "apps", version: "v1", plural: "statefulsets", kind: "StatefulSet", subresources: []string{"scale"}, like: appsv1.StatefulSet{}},
	{group: "apps", version: "v1", plural: "replicasets", kind: "ReplicaSet", like: appsv1.ReplicaSet{}},
	{group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy"},
	{group: "policy", version: "v1", plural: "poddisruptionbudgets", kind: "PodDisruptionBudget"},
	{group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler"},
	{group: "keda.sh", version: "v1alpha1", plural: "scaledobjects", kind: "ScaledObject"},
	{group: "autoscaling.k8s.io", version: "v1", plural: "verticalpodautoscalers", kind: "VerticalPodAutoscaler"},
	{group: "metrics.k8s.io", version: "v1beta1", plural: "pods", kind: "PodMetrics"},
	{group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease"},
	{group: "foreshadow.dev", version: "v1alpha1", plural: "shadowscalers", kind: "ShadowScaler", subresources: []string{"status"}},
	{group: "example.org", version: "v1", plural: "shops", kind: "Shop", subresources: []string{"scale"}},
}

func (r resource) apiVersion() string { return strings.TrimPrefix(r.group+"/"+r.version, "/") }

// discover answers the paths of discovery; nil for others.
func discover(path string) any {
	switch path {
	case "/api":
		return map[string]any{"kind": "APIVersions", "versions": []string{"v1"}}
	case "/apis":
		var groups []any
		for _, r := range resources {
			if r.group == "" || slices.ContainsFunc(groups, func(g any) bool { return g.(map[string]any)["name"] == r.group }) {
				continue
			}
			v := map[string]any{"groupVersion": r.apiVersion(), "version": r.version}
			groups = append(groups, map[string]any{"name": r.group, "versions": []any{v}, "preferredVersion": v})
		}
		return map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
	}
	gv, isGroup := strings.CutPrefix(path, "/apis/")
	if !isGroup {
		gv = strings.TrimPrefix(path, "/api/")
	}
	var list []any
	for _, r := range resources {
		if r.apiVersion() != gv {
			continue
		}
		list = append(list, map[string]any{"name": r.plural, "kind": r.kind, "namespaced": !r.clusterWide, "verbs": []string{"get", "list", "watch", "patch", "update", "create", "delete"}})
		for _, s := range r.subresources {
			sub := map[string]any{"name": r.plural + "/" + s, "kind": r.kind, "namespaced": true, "verbs": []string{"get", "patch", "update"}}
			if s == "scale" {
				sub["group"], sub["version"], sub["kind"] = "autoscaling", "v1", "Scale"
			}
			list = append(list, sub)
		}
	}
	if list == nil {
		return nil
	}
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": list}
}

// patched merges a patch into an object.
func patched(r resource, contentType string, old, patch map[string]any) (map[string]any, error) {
	switch types.PatchType(contentType) {
	case types.MergePatchType:
		return merge(clone(old), patch), nil
	case types.StrategicMergePatchType:
		if r.like == nil {
			return nil, fmt.Errorf("%s has no strategic merge", r.kind)
		}
		original, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		change, err := json.Marshal(patch)
		if err != nil {
			return nil, err
		}
		data, err := strategicpatch.StrategicMergePatch(original, change, r.like)
		if err != nil {
			return nil, err
		}
		var next map[string]any
		return next, json.Unmarshal(data, &next)
	default:
		return nil, fmt.Errorf("patches of type %q are not known", contentType)
	}
}

// merge is RFC 7386.
func merge(into, patch map[string]any) map[string]any {
	for k, v := range patch {
		m, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap:
			at(into, k)
			into[k] = merge(at(into, k), m)
		default:
			into[k] = v
		}
	}
	return into
}

// scaleOf is the scale subresource of an object.
func scaleOf(o map[string]any) map[string]any {
	var selector []string
	for k, v := range at(o, "spec", "selector", "matchLabels") {
		selector = append(selector, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(selector)
	m := at(o, "metadata")
	return map[string]any{
		"apiVersion": "autoscaling/v1", "kind": "Scale",
		"metadata": map[string]any{"name": m["name"], "namespace": m["namespace"], "uid": m["uid"], "resourceVersion": m["resourceVersion"]},
		"spec":     map[string]any{"replicas": number(at(o, "spec")["replicas"])},
		"status":   map[string]any{"replicas": number(at(o, "spec")["replicas"]), "selector": strings.Join(selector, ",")},
	}
}
