package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func trialLabels(shadow object, trial string) labels.Set {
	return labels.Set{trialOfLabel: shadow.Name, trialLabel: trial}
}

// askedAnnotations are what a trial knows of who asked for it.
func askedAnnotations(ask platform.Trial, now time.Time) (map[string]any, error) {
	text, err := json.Marshal(ask)
	if err != nil {
		return nil, fmt.Errorf("encode trial: %w", err)
	}
	return map[string]any{askedAnnotation: string(text), renewedAnnotation: now.UTC().Format(time.RFC3339Nano)}, nil
}

// readAsked reads them.
func readAsked(o *unstructured.Unstructured) (asked platform.Trial, renewed time.Time, err error) {
	if err := json.Unmarshal([]byte(o.GetAnnotations()[askedAnnotation]), &asked); err != nil {
		return asked, renewed, fmt.Errorf("read annotation %s of %s: %w", askedAnnotation, o.GetName(), err)
	}
	if renewed, err = time.Parse(time.RFC3339Nano, o.GetAnnotations()[renewedAnnotation]); err != nil {
		return asked, renewed, fmt.Errorf("read annotation %s of %s: %w", renewedAnnotation, o.GetName(), err)
	}
	return asked, renewed, nil
}

// trialObject is the Deployment of a trial, without a name. It goes with the shadow's object when that goes.
func trialObject(shadow *unstructured.Unstructured, at object, source *corev1.PodTemplateSpec, ask platform.Trial, now time.Time) (*unstructured.Unstructured, error) {
	template, err := varied(source, at, ask)
	if err != nil {
		return nil, err
	}
	t, err := runtime.DefaultUnstructuredConverter.ToUnstructured(template)
	if err != nil {
		return nil, fmt.Errorf("encode template: %w", err)
	}
	annotations, err := askedAnnotations(ask, now)
	if err != nil {
		return nil, err
	}
	labels := map[string]any{}
	for name, value := range trialLabels(at, ask.Name) {
		labels[name] = value
	}
	apiVersion, kind := at.Object()
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{
			"namespace": at.Namespace, "labels": labels, "annotations": annotations,
			"ownerReferences": []any{map[string]any{"apiVersion": apiVersion, "kind": kind, "name": shadow.GetName(), "uid": string(shadow.GetUID())}},
		},
		"spec": map[string]any{
			"replicas": int64(ask.Instances), "revisionHistoryLimit": int64(0), "selector": map[string]any{"matchLabels": labels}, "template": t,
		},
	}}, nil
}

// varied is the pod template of a trial: the shadow's but for what is tried, and for its labels. Its annotations stay, since
// what a cluster adds to a pod by them, a sidecar or a bandwidth, is part of what is measured.
func varied(source *corev1.PodTemplateSpec, shadow object, ask platform.Trial) (*corev1.PodTemplateSpec, error) {
	t := source.DeepCopy()
	if t.Spec.HostNetwork {
		return nil, fmt.Errorf("pods of %s use the network of their node, where two cannot have one port: %w", shadow.Name, platform.ErrUnsupported)
	}
	t.Labels = trialLabels(shadow, ask.Name)
	for i := range t.Spec.Containers {
		for j := range t.Spec.Containers[i].Ports {
			t.Spec.Containers[i].Ports[j].HostPort = 0
		}
	}
	i := (&reading{object: shadow}).container(&t.Spec)
	if i < 0 {
		return nil, fmt.Errorf("%s has no container %q: %w", shadow.Name, shadow.Container, platform.ErrUnsupported)
	}
	c := &t.Spec.Containers[i]
	giveTime(&t.Spec)
	c.Image = cmp.Or(ask.Image, c.Image)
	setEnv(c, ask.Env)
	if ask.CPUCores > 0 {
		give(&c.Resources, corev1.ResourceCPU, *resource.NewMilliQuantity(milli(ask.CPUCores), resource.DecimalSI))
	}
	if ask.MemoryBytes > 0 {
		give(&c.Resources, corev1.ResourceMemory, *resource.NewQuantity(ask.MemoryBytes, resource.BinarySI))
	}
	return t, nil
}

// give has a container get so much and no more: what a trial had beyond its request would not be there for production.
func give(r *corev1.ResourceRequirements, name corev1.ResourceName, q resource.Quantity) {
	for _, list := range []*corev1.ResourceList{&r.Requests, &r.Limits} {
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = q
	}
}

// walled refuses a trial that would be behind fewer walls than the shadow: its pods have other labels, and a NetworkPolicy that
// selects the shadow's does not bound them by itself.
func (t *Trials) walled(ctx context.Context, shadow object, own, trial map[string]string) error {
	list, err := t.client.dynamic.Resource(policyResource).Namespace(shadow.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return forbidden(fmt.Errorf("list network policies: %w", err))
	}
	made := map[string]bool{} // of a copy's own walls
	for i := range list.Items {
		made[list.Items[i].GetName()] = list.Items[i].GetLabels()[copyLabel] == shadow.Name
	}
	for i := range list.Items {
		var p networkingv1.NetworkPolicy
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p); err != nil {
			return fmt.Errorf("decode network policy %s: %w", list.Items[i].GetName(), err)
		}
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			return fmt.Errorf("selector of network policy %s: %w", p.Name, err)
		}
		twin := p.Name == wallName(shadow) && made[p.Name] && made[trialsWallName(shadow)]
		if selector.Matches(labels.Set(own)) && !selector.Matches(labels.Set(trial)) && !twin {
			return fmt.Errorf("NetworkPolicy %q bounds %s and would not bound a trial of it; have one like it select the label %s: %w",
				p.Name, shadow.Name, trialOfLabel, platform.ErrUnsupported)
		}
	}
	return nil
}
