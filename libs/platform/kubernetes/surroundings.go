package kubernetes

import (
	"context"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Kinds that may change the same object.
var (
	hpaKind          = schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}
	scaledObjectKind = schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}
	vpaKind          = schema.GroupVersionKind{Group: "autoscaling.k8s.io", Version: "v1", Kind: "VerticalPodAutoscaler"}
	budgetResource   = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
)

// Surroundings reads what besides the group bounds a change of it: who else scales it, disruption budgets, quotas, and the
// room on the nodes when the configuration says so.
func (c *Client) Surroundings(ctx context.Context, group string) (platform.Surroundings, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	s, err := c.surroundings(ctx, group)
	if err != nil {
		return s, fmt.Errorf("read the surroundings of group %q: %w", group, err)
	}
	return s, nil
}

func (c *Client) surroundings(ctx context.Context, group string) (platform.Surroundings, error) {
	var s platform.Surroundings
	r, err := c.read(ctx, group)
	if err != nil {
		return s, err
	}
	if err := c.otherControllers(ctx, r, &s); err != nil {
		return s, err
	}
	if err := c.budgets(ctx, r, &s.Removable); err != nil {
		return s, err
	}
	if err := c.quotas(ctx, r, &s.Addable); err != nil {
		return s, err
	}
	if c.cfg.NodeHeadroom {
		err = c.nodes(ctx, r, &s.Addable)
	}
	return s, err
}

// list reads all objects of a kind in a namespace; a kind that the cluster does not have has none.
func (c *Client) list(ctx context.Context, kind schema.GroupVersionKind, namespace string) ([]unstructured.Unstructured, error) {
	mapping, err := c.mapping(ctx, kind, lookForOthers)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", kind.Kind, err)
	}
	list, err := c.dynamic.Resource(mapping.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind.Kind, err)
	}
	return list.Items, nil
}

func (c *Client) otherControllers(ctx context.Context, r *reading, s *platform.Surroundings) error {
	hpas, err := c.list(ctx, hpaKind, r.Namespace)
	if err != nil {
		return err
	}
	for i := range hpas {
		if r.isTarget(&hpas[i], "scaleTargetRef") {
			s.Controllers = append(s.Controllers, describe(&hpas[i], "minReplicas", "maxReplicas"))
		}
	}
	scaled, err := c.list(ctx, scaledObjectKind, r.Namespace)
	if err != nil {
		return err
	}
	for i := range scaled {
		if r.isTarget(&scaled[i], "scaleTargetRef") {
			s.Controllers = append(s.Controllers, describe(&scaled[i], "minReplicaCount", "maxReplicaCount"))
		}
	}
	vpas, err := c.list(ctx, vpaKind, r.Namespace)
	if err != nil {
		return err
	}
	for i := range vpas {
		mode, _, _ := unstructured.NestedString(vpas[i].Object, "spec", "updatePolicy", "updateMode")
		if mode != "Off" && r.isTarget(&vpas[i], "targetRef") {
			s.Resizers = append(s.Resizers, fmt.Sprintf("VerticalPodAutoscaler %q", vpas[i].GetName()))
		}
	}
	return nil
}

// isTarget says whether an object refers to the group's. A ScaledObject that names no kind means a Deployment.
func (r *reading) isTarget(o *unstructured.Unstructured, field string) bool {
	ref, _, _ := unstructured.NestedStringMap(o.Object, "spec", field)
	kind := ref["kind"]
	if kind == "" {
		kind = "Deployment"
	}
	return ref["name"] == r.Name && kind == r.kind.Kind
}

func describe(o *unstructured.Unstructured, low, high string) string {
	text := fmt.Sprintf("%s %q", o.GetKind(), o.GetName())
	if most, found, _ := unstructured.NestedInt64(o.Object, "spec", high); found {
		least, _, _ := unstructured.NestedInt64(o.Object, "spec", low)
		text += fmt.Sprintf(" (%d to %d)", least, most)
	}
	return text
}

// budgets bounds what may be removed at once by the PodDisruptionBudgets of the pods: lowering the number of replicas does
// not ask them.
func (c *Client) budgets(ctx context.Context, r *reading, removable *platform.Bound) error {
	list, err := c.dynamic.Resource(budgetResource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list disruption budgets: %w", err)
	}
	for i := range list.Items {
		var b policyv1.PodDisruptionBudget
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &b); err != nil {
			return fmt.Errorf("decode disruption budget %s: %w", list.Items[i].GetName(), err)
		}
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return fmt.Errorf("selector of disruption budget %s: %w", b.Name, err)
		}
		if !r.anyPod(selector) {
			continue
		}
		allowed := int(b.Status.DisruptionsAllowed)
		if b.Status.ObservedGeneration < b.Generation {
			allowed = 0 // what it allows is not known yet
		}
		removable.Tighten(allowed, fmt.Sprintf("PodDisruptionBudget %q", b.Name))
	}
	return nil
}

func (r *reading) anyPod(selector labels.Selector) bool {
	for i := range r.pods {
		if selector.Matches(labels.Set(r.pods[i].Labels)) {
			return true
		}
	}
	return false
}
