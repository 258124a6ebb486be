package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform"
)

var replicaSetResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}

// resize carries a change of sizes one step on. Pods are changed in place where the cluster can: the first one alone, the
// others once it serves with its new size, and last the template, so that pods made from now on agree. Where it cannot, the
// template is changed at once and the object's own controller replaces the pods, with none missing meanwhile.
func (c *Client) resize(ctx context.Context, r *reading, size platform.Size) error {
	if size == (platform.Size{}) {
		if r.paused() {
			return c.agree(ctx, r, r.claim.Size) // another change takes over from one of sizes that was cut short
		}
		return nil
	}
	var todo []corev1.Pod
	done, ready := 0, 0
	for i := range r.pods {
		p := &r.pods[i]
		switch {
		case p.DeletionTimestamp != nil:
		case !differs(r.podSize(p), size):
			done++
			ready += serving(p)
		default:
			todo = append(todo, *p)
		}
	}
	if len(todo) > 0 && done > ready {
		return nil // the first ones have to serve before it goes on
	}
	if done == 0 && len(todo) > 1 {
		todo = todo[:1]
	}
	for i := range todo {
		err := c.resizePod(ctx, r, &todo[i], size)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err), apierrors.IsInvalid(err), apierrors.IsForbidden(err):
			// No such subresource, or a pod that cannot be changed in place (its quality of service would change, for example).
			return c.replaceBySize(ctx, r, size)
		case err != nil:
			return err
		}
	}
	if len(todo) > 0 || done == 0 && len(r.pods) > 0 {
		return nil
	}
	return c.agree(ctx, r, size)
}

// resizePod changes one pod in place.
func (c *Client) resizePod(ctx context.Context, r *reading, p *corev1.Pod, size platform.Size) error {
	i := r.container(&p.Spec)
	if i < 0 {
		return fmt.Errorf("pod %s has no container %q", p.Name, r.Container)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": p.ResourceVersion},
		"spec": map[string]any{"containers": []any{map[string]any{
			"name": p.Spec.Containers[i].Name, "resources": resources(p.Spec.Containers[i].Resources, size),
		}}},
	})
	if err != nil {
		return fmt.Errorf("encode resize: %w", err)
	}
	_, err = c.dynamic.Resource(podResource).Namespace(r.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager}, "resize")
	return err
}

// agree makes the template agree with pods that were changed in place, without their being replaced. A Deployment replaces
// its pods when its template is not that of its current ReplicaSet; so both are changed, while it is paused.
func (c *Client) agree(ctx context.Context, r *reading, size platform.Size) error {
	patch := r.templatePatch(size)
	if patch == nil {
		return nil
	}
	if !r.isDeployment() {
		return c.patchTemplate(ctx, r, patch, nil)
	}
	set, err := c.currentReplicaSet(ctx, r)
	if err != nil {
		return err
	}
	if err := c.patchObject(ctx, r, types.MergePatchType, map[string]any{"spec": map[string]any{"paused": true}}); err != nil {
		return err
	}
	if set != nil {
		data, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": set.GetResourceVersion()}, "spec": map[string]any{"template": patch},
		})
		if err != nil {
			return fmt.Errorf("encode template: %w", err)
		}
		_, err = c.dynamic.Resource(replicaSetResource).Namespace(r.Namespace).Patch(ctx, set.GetName(), types.StrategicMergePatchType, data,
			metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return c.patchTemplate(ctx, r, patch, map[string]any{"paused": false})
}

// replaceBySize changes the template so that the object's controller replaces the pods. A Deployment is told to have none
// missing meanwhile.
func (c *Client) replaceBySize(ctx context.Context, r *reading, size platform.Size) error {
	patch := r.templatePatch(size)
	if patch == nil {
		return nil
	}
	var more map[string]any
	if r.isDeployment() {
		more = map[string]any{"strategy": map[string]any{"rollingUpdate": map[string]any{"maxUnavailable": 0, "maxSurge": 1}}}
	}
	return c.patchTemplate(ctx, r, patch, more)
}

// patchTemplate merges into the template and beside it. It is a strategic merge for Kubernetes' own kinds, which know a
// container by its name; other kinds only have merge patches, which replace the whole list.
func (c *Client) patchTemplate(ctx context.Context, r *reading, template, beside map[string]any) error {
	spec := map[string]any{"template": template}
	for k, v := range beside {
		spec[k] = v
	}
	if r.kind.Group != "apps" {
		return fmt.Errorf("the template of a %s is not known how to change: %w", r.kind.Kind, errNoTemplate)
	}
	return c.patchObject(ctx, r, types.StrategicMergePatchType, map[string]any{"spec": spec})
}

var errNoTemplate = fmt.Errorf("only kinds of apps/v1 are resized")

// templatePatch is what of the template has to change; nil when nothing has to.
func (r *reading) templatePatch(size platform.Size) map[string]any {
	t := r.template()
	if t == nil {
		return nil
	}
	i := r.container(&t.Spec)
	annotations := bandwidth(size)
	for name, value := range annotations {
		if t.Annotations[name] == value {
			delete(annotations, name)
		}
	}
	out := map[string]any{}
	if len(annotations) > 0 {
		out["metadata"] = map[string]any{"annotations": annotations}
	}
	if i >= 0 && differs(r.templateSize(), size) {
		out["spec"] = map[string]any{"containers": []any{map[string]any{
			"name": t.Spec.Containers[i].Name, "resources": resources(t.Spec.Containers[i].Resources, size),
		}}}
	}
	if len(out) == 0 && !r.paused() {
		return nil
	}
	return out
}

// paused says whether a resize was cut short between pausing the object and letting it go on.
func (r *reading) paused() bool {
	spec, _ := r.body.Object["spec"].(map[string]any)
	paused, _ := spec["paused"].(bool)
	return paused && r.claim.Size != (platform.Size{})
}

// currentReplicaSet is the ReplicaSet that has the Deployment's present template; nil when there is none yet.
func (c *Client) currentReplicaSet(ctx context.Context, r *reading) (*unstructured.Unstructured, error) {
	list, err := c.dynamic.Resource(replicaSetResource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: r.scale.Status.Selector})
	if err != nil {
		return nil, fmt.Errorf("list replica sets: %w", err)
	}
	const revision = "deployment.kubernetes.io/revision"
	for i := range list.Items {
		set := &list.Items[i]
		if metav1.IsControlledBy(set, r.body) && set.GetAnnotations()[revision] == r.body.GetAnnotations()[revision] {
			return set, nil
		}
	}
	return nil, nil
}
