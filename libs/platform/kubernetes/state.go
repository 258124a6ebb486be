package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
)

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// sameTries is how often object and scale are read until both are of one version.
const sameTries = 5

// reading is what was read of a group.
type reading struct {
	object
	body     *unstructured.Unstructured
	scale    *autoscalingv1.Scale
	claim    claim
	written  *claim // what this client has made of it since
	last     made
	replicas int
	// pods that run or will, and the version of the list.
	pods    []corev1.Pod
	version string
}

// State reads what runs now, of a trial too. The error is a platform.ErrNotFound when there is no such object.
func (c *Client) State(ctx context.Context, group string) (platform.State, error) {
	r, err := c.look(ctx, group)
	if err != nil {
		return platform.State{}, fmt.Errorf("read group %q: %w", group, err)
	}
	return r.state(), nil
}

// look is read for those that only look: it finds the group of a trial, too.
func (c *Client) look(ctx context.Context, group string) (*reading, error) {
	base, trial, is := platform.SplitTrialGroup(group)
	if _, known := c.groups[group]; known || !is {
		return c.read(ctx, group)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return c.readTrialGroup(ctx, base, trial)
}

func (c *Client) read(ctx context.Context, group string) (*reading, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	o, err := c.find(ctx, group)
	if err != nil {
		return nil, err
	}
	r := &reading{object: o}
	if err := c.readObject(ctx, r); err != nil {
		return nil, explain(o, err)
	}
	if err := c.readPods(ctx, r); err != nil {
		return nil, explain(o, err)
	}
	return r, nil
}

// readObject reads the object and its scale in one and the same version: what one says of the change that was claimed only
// holds for the other then.
func (c *Client) readObject(ctx context.Context, r *reading) error {
	var err error
	for range sameTries {
		if r.body, err = c.object(r.object).Get(ctx, r.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if r.scale, err = c.scales.Scales(r.Namespace).Get(ctx, r.resource.GroupResource(), r.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if r.scale.ResourceVersion == r.body.GetResourceVersion() {
			break
		}
	}
	r.replicas = int(r.scale.Spec.Replicas)
	if r.claim, err = readClaim(r.body); err != nil {
		return err
	}
	r.last = r.claim.made(r.body.GetGeneration(), r.replicas)
	return nil
}

func (c *Client) readPods(ctx context.Context, r *reading) error {
	if r.scale.Status.Selector == "" {
		// An empty selector would be every pod of the namespace.
		return fmt.Errorf("its scale has no selector, so that its pods are not known")
	}
	list, err := c.dynamic.Resource(podResource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: r.scale.Status.Selector})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	r.version = list.GetResourceVersion()
	for i := range list.Items {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p); err != nil {
			return fmt.Errorf("decode pod %s: %w", list.Items[i].GetName(), err)
		}
		// A pod that has ended, evicted for example, runs nothing and never will.
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			r.pods = append(r.pods, p)
		}
	}
	slices.SortFunc(r.pods, func(a, b corev1.Pod) int {
		if d := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); d != 0 {
			return d
		}
		return slices.Compare([]string{a.Name}, []string{b.Name})
	})
	return nil
}

func (r *reading) state() platform.State {
	s := platform.State{
		Group: r.group, Desired: r.replicas, Generation: r.last.Generation,
		Foreign: r.last.Generation > 0 && r.replicas != r.last.Replicas, Size: r.templateSize(),
	}
	// The API server's versions of one kind grow with each change; those of the list with each change of any pod.
	s.Revision, _ = strconv.ParseUint(r.version, 10, 64)
	for i := range r.pods {
		s.Instances = append(s.Instances, r.instance(&r.pods[i]))
	}
	return s
}

// instance is a pod as an instance. Its start is when it was made, not when its containers ran: to be scheduled and to pull
// the image is part of what users wait for.
func (r *reading) instance(p *corev1.Pod) platform.Instance {
	i := platform.Instance{
		ID: p.Name + "/" + string(p.UID), Phase: platform.Starting, Version: version(p),
		StartTime: p.CreationTimestamp.Time, Size: r.podSize(p),
	}
	if p.Status.PodIP != "" {
		i.Address = hostPort(p.Status.PodIP, r.Port)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			i.Phase, i.ReadyTime = platform.Ready, c.LastTransitionTime.Time
		}
	}
	if p.DeletionTimestamp != nil {
		i.Phase = platform.Draining
	} else if i.Phase == platform.Starting && crashes(p) {
		i.Phase = platform.Failed
	}
	return i
}

// version is what tells pods of one template from those of another.
func version(p *corev1.Pod) string {
	for _, l := range []string{"pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash"} {
		if v := p.Labels[l]; v != "" {
			return v
		}
	}
	if len(p.Spec.Containers) > 0 {
		return p.Spec.Containers[0].Image
	}
	return ""
}

// crashes says whether a container was started again and again, or cannot be started at all.
func crashes(p *corev1.Pod) bool {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			switch w.Reason {
			case "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "InvalidImageName":
				return true
			}
		}
	}
	return false
}
