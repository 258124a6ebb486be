package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var policyResource = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}

// copyLabel marks what was made for a shadow, with the name of its object. Pods are selected by it alone, so that no Service of
// production's labels finds them.
const copyLabel = "foreshadow.dev/shadow-of"

// sourceAnnotation of a copy is the template of production that it was made of.
const sourceAnnotation = "foreshadow.dev/source"

// Copy makes the group shadow an isolated copy of the group production, asleep, and later keeps its template like production's;
// how many instances it has is left to Scale. The namespace must exist: who may make one may make any. The error is a
// platform.ErrNotFound when there is no production to copy.
func (c *Client) Copy(ctx context.Context, production, shadow string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	if err := c.copyGroup(ctx, production, shadow); err != nil {
		return fmt.Errorf("copy group %q to %q: %w", production, shadow, err)
	}
	return nil
}

func (c *Client) copyGroup(ctx context.Context, production, shadow string) error {
	from, err := c.find(ctx, production)
	if err != nil {
		return err
	}
	to, err := c.find(ctx, shadow)
	if err != nil {
		return err
	}
	body, err := c.object(from).Get(ctx, from.Name, metav1.GetOptions{})
	if err != nil {
		return explain(from, err)
	}
	r := &reading{object: from, body: body}
	template := r.template()
	if template == nil || !r.isDeployment() || to.kind != from.kind {
		return fmt.Errorf("only a Deployment is copied, to a Deployment, and %s %s is none", from.kind.Kind, from.Name)
	}
	// The walls come first: no pod of the shadow, or of a trial of it, ever runs without them.
	for _, w := range []*unstructured.Unstructured{wall(to, wallName(to), copyLabel), wall(to, trialsWallName(to), trialOfLabel)} {
		if err := c.apply(ctx, policyResource, w); err != nil {
			return err
		}
	}
	want, err := copied(template, to)
	if err != nil {
		return err
	}
	return c.applyCopy(ctx, to, want)
}

// copied is the template of the shadow.
func copied(source *corev1.PodTemplateSpec, to object) (*corev1.PodTemplateSpec, error) {
	t := &corev1.PodTemplateSpec{}
	t.Labels = map[string]string{copyLabel: to.Name}
	t.Spec = *source.Spec.DeepCopy()
	no := false
	// The shadow has no say in the cluster, and shares nothing of the node with production.
	t.Spec.ServiceAccountName, t.Spec.DeprecatedServiceAccount, t.Spec.AutomountServiceAccountToken = "", "", &no
	t.Spec.HostNetwork, t.Spec.HostPID, t.Spec.HostIPC, t.Spec.NodeName = false, false, false, ""
	t.Spec.ImagePullSecrets = mapped(t.Spec.ImagePullSecrets, to.Copy.Secrets)
	gone := stripVolumes(&t.Spec, to.Copy.Secrets)
	for _, list := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for i := range list {
			stripContainer(&list[i], to.Copy.Secrets, gone)
		}
	}
	i := (&reading{object: to}).container(&t.Spec)
	if i < 0 {
		return nil, fmt.Errorf("production has no container %q", to.Container)
	}
	setEnv(&t.Spec.Containers[i], to.Copy.Env)
	giveTime(&t.Spec)
	return t, nil
}

func mapped(list []corev1.LocalObjectReference, secrets map[string]string) []corev1.LocalObjectReference {
	var out []corev1.LocalObjectReference
	for _, ref := range list {
		if name, ok := secrets[ref.Name]; ok {
			out = append(out, corev1.LocalObjectReference{Name: name})
		}
	}
	return out
}

// stripVolumes leaves out the volumes that a shadow must not have, and names them: secrets that are not mapped, tokens, disks of
// production, and the node's own directories.
func stripVolumes(spec *corev1.PodSpec, secrets map[string]string) (gone map[string]bool) {
	gone = map[string]bool{}
	var kept []corev1.Volume
	for _, v := range spec.Volumes {
		switch {
		case v.Secret != nil:
			name, ok := secrets[v.Secret.SecretName]
			if !ok {
				gone[v.Name] = true
				continue
			}
			v.Secret.SecretName = name
		case v.EmptyDir == nil && v.ConfigMap == nil && v.DownwardAPI == nil:
			gone[v.Name] = true
			continue
		}
		kept = append(kept, v)
	}
	spec.Volumes = kept
	return gone
}

func stripContainer(c *corev1.Container, secrets map[string]string, gone map[string]bool) {
	var env []corev1.EnvVar
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			name, ok := secrets[e.ValueFrom.SecretKeyRef.Name]
			if !ok {
				continue
			}
			e.ValueFrom.SecretKeyRef.Name = name
		}
		env = append(env, e)
	}
	c.Env = env
	var from []corev1.EnvFromSource
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			name, ok := secrets[e.SecretRef.Name]
			if !ok {
				continue
			}
			e.SecretRef.Name = name
		}
		from = append(from, e)
	}
	c.EnvFrom = from
	var mounts []corev1.VolumeMount
	for _, m := range c.VolumeMounts {
		if !gone[m.Name] {
			mounts = append(mounts, m)
		}
	}
	c.VolumeMounts = mounts
	for i := range c.Ports {
		c.Ports[i].HostPort = 0
	}
}

// setEnv sets variables in the order of their names, so that the same copy is made each time.
func setEnv(c *corev1.Container, values map[string]string) {
	for _, name := range sortedKeys(values) {
		set := false
		for i := range c.Env {
			if c.Env[i].Name == name {
				c.Env[i], set = corev1.EnvVar{Name: name, Value: values[name]}, true
			}
		}
		if !set {
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: values[name]})
		}
	}
}

func wallName(to object) string       { return to.Name + "-wall" }
func trialsWallName(to object) string { return to.Name + "-trials-wall" }

// wall is the NetworkPolicy of a copy's pods, or of its trials': those that have the label. Nothing comes in but from the allowed
// namespaces, to the port that is served; nothing goes out but to their like, DNS, and the allowed networks.
func wall(to object, name, label string) *unstructured.Unstructured {
	own := map[string]any{"podSelector": map[string]any{"matchLabels": map[string]any{label: to.Name}}}
	from := []any{own}
	for _, n := range to.Copy.AllowFrom {
		from = append(from, map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": n}}})
	}
	dns := []any{map[string]any{"port": int64(53), "protocol": "UDP"}, map[string]any{"port": int64(53), "protocol": "TCP"}}
	egress := []any{map[string]any{"to": []any{own}}, map[string]any{"ports": dns}}
	for _, cidr := range to.Copy.AllowEgress {
		if _, network, err := net.ParseCIDR(cidr); err == nil {
			egress = append(egress, map[string]any{"to": []any{map[string]any{"ipBlock": map[string]any{"cidr": network.String()}}}})
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": name, "namespace": to.Namespace, "labels": map[string]any{copyLabel: to.Name}},
		"spec": map[string]any{
			"podSelector": own["podSelector"], "policyTypes": []any{"Ingress", "Egress"},
			"ingress": []any{map[string]any{"from": from, "ports": []any{map[string]any{"port": int64(to.Port), "protocol": "TCP"}}}},
			"egress":  egress,
		},
	}}
}

// apply makes an object, or sets its spec when it has another one. One of that name that was not made for a shadow is left alone.
func (c *Client) apply(ctx context.Context, resource schema.GroupVersionResource, want *unstructured.Unstructured) error {
	client := c.dynamic.Resource(resource).Namespace(want.GetNamespace())
	old, err := client.Get(ctx, want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		return err
	}
	if err != nil {
		return err
	}
	if err := isCopy(old); err != nil || reflect.DeepEqual(old.Object["spec"], want.Object["spec"]) {
		return err
	}
	next := old.DeepCopy()
	next.Object["spec"] = want.Object["spec"]
	_, err = client.Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	return err
}

// ErrNotCopy says that an object stands where a copy would, and is none.
var ErrNotCopy = errors.New("was not made as a copy")

// isCopy says why an object is not one that may be changed or removed as a copy.
func isCopy(o *unstructured.Unstructured) error {
	if o.GetLabels()[copyLabel] != "" {
		return nil
	}
	return fmt.Errorf("%s %s/%s %w, and is left alone", o.GetKind(), o.GetNamespace(), o.GetName(), ErrNotCopy)
}

func (c *Client) applyCopy(ctx context.Context, to object, template *corev1.PodTemplateSpec) error {
	source, err := json.Marshal(template)
	if err != nil {
		return fmt.Errorf("encode template: %w", err)
	}
	t, err := runtime.DefaultUnstructuredConverter.ToUnstructured(template)
	if err != nil {
		return fmt.Errorf("encode template: %w", err)
	}
	old, err := c.object(to).Get(ctx, to.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		apiVersion, kind := to.Object()
		_, err = c.object(to).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind,
			"metadata": map[string]any{
				"name": to.Name, "namespace": to.Namespace, "labels": map[string]any{copyLabel: to.Name},
				"annotations": map[string]any{sourceAnnotation: string(source)},
			},
			"spec": map[string]any{
				"replicas": int64(0), "selector": map[string]any{"matchLabels": map[string]any{copyLabel: to.Name}}, "template": t,
			},
		}}, metav1.CreateOptions{FieldManager: fieldManager})
		return explain(to, err)
	}
	if err != nil {
		return explain(to, err)
	}
	// What it was made of is compared, not what the API server has made of it by its defaults.
	if err := isCopy(old); err != nil || old.GetAnnotations()[sourceAnnotation] == string(source) {
		return err
	}
	next := old.DeepCopy()
	annotations := next.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[sourceAnnotation] = string(source)
	next.SetAnnotations(annotations)
	if err := unstructured.SetNestedMap(next.Object, t, "spec", "template"); err != nil {
		return fmt.Errorf("set template: %w", err)
	}
	_, err = c.object(to).Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	return explain(to, err)
}

// RemoveCopy removes what Copy has made; what is gone already is no error.
func (c *Client) RemoveCopy(ctx context.Context, shadow string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	to, err := c.find(ctx, shadow)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		resource schema.GroupVersionResource
		name     string
	}{{to.resource, to.Name}, {policyResource, wallName(to)}, {policyResource, trialsWallName(to)}} { // the walls last
		client := c.dynamic.Resource(part.resource).Namespace(to.Namespace)
		o, err := client.Get(ctx, part.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = isCopy(o)
		}
		if err == nil {
			uid, foreground := o.GetUID(), metav1.DeletePropagationForeground
			err = client.Delete(ctx, part.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &foreground})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove the copy %q: %w", shadow, err)
		}
	}
	return nil
}
