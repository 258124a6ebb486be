package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// costAnnotation makes a ReplicaSet remove the pods of lower cost first.
	costAnnotation = "controller.kubernetes.io/pod-deletion-cost"
	// markedCost is what is written to those that are to go first. A cost of the user's own that is lower goes before.
	markedCost = -1000
)

// markCheapest marks the pods whose end disturbs least, before as many are removed: those that do not serve yet, then the
// youngest, which have the coldest caches and the fewest long sessions. A pod that ends by itself in between is as well.
// StatefulSets do not read the mark: they remove the highest ordinal.
func (c *Client) markCheapest(ctx context.Context, r *reading, n int) error {
	if r.kind.Kind == "StatefulSet" {
		return nil
	}
	for _, p := range cheapest(r.pods, n) {
		if cost(&p) <= markedCost {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": p.ResourceVersion, "annotations": map[string]any{costAnnotation: strconv.Itoa(markedCost)},
		}})
		if err != nil {
			return err
		}
		_, err = c.dynamic.Resource(podResource).Namespace(r.Namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// cheapest returns the n pods that are to be removed first.
func cheapest(pods []corev1.Pod, n int) []corev1.Pod {
	sorted := slices.Clone(pods)
	slices.SortStableFunc(sorted, func(a, b corev1.Pod) int {
		if d := cmp.Compare(cost(&a), cost(&b)); d != 0 {
			return d
		}
		if d := cmp.Compare(serving(&a), serving(&b)); d != 0 {
			return d
		}
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	return sorted[:min(n, len(sorted))]
}

func cost(p *corev1.Pod) int {
	n, _ := strconv.Atoi(p.Annotations[costAnnotation]) // without one it is 0, as for the ReplicaSet
	return n
}

// serving is 1 for a pod that serves.
func serving(p *corev1.Pod) int {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
			return 1
		}
	}
	return 0
}
