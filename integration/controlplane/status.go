package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// advance brings the status of a bound pod up to date; it reports whether anything changed.
func (k *kubelet) advance(p *corev1.Pod, now time.Time) bool {
	old := p.Status.DeepCopy()
	if p.Status.StartTime == nil {
		k.next++
		start := metav1.NewTime(now)
		p.Status.StartTime, p.Status.Phase = &start, corev1.PodRunning
		p.Status.HostIP, p.Status.PodIP = "10.1.0.1", fmt.Sprintf("10.2.%d.%d", k.next/250, 1+k.next%250)
		p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	ready := ready(p, now)
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized} {
		setCondition(&p.Status, t, true, now)
	}
	setCondition(&p.Status, corev1.ContainersReady, ready, now)
	setCondition(&p.Status, corev1.PodReady, ready, now)
	statuses := make([]corev1.ContainerStatus, len(p.Spec.Containers))
	for i, c := range p.Spec.Containers {
		started := ready
		// A resize takes hold at once: what is asked for is what is allocated and used.
		statuses[i] = corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image, ContainerID: "containerd://" + string(p.UID), Ready: ready, Started: &started,
			State:              corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: *p.Status.StartTime}},
			AllocatedResources: c.Resources.Requests.DeepCopy(), Resources: c.Resources.DeepCopy(),
		}
	}
	p.Status.ContainerStatuses = statuses
	p.Status.ObservedGeneration = p.Generation
	return !equality.Semantic.DeepEqual(old, &p.Status)
}

// ready says whether a pod's containers serve by now.
func ready(p *corev1.Pod, now time.Time) bool {
	after := p.Annotations[startAnnotation]
	if after == "" {
		return true
	}
	d, err := time.ParseDuration(after)
	return err == nil && now.Sub(p.Status.StartTime.Time) >= d
}

func setCondition(s *corev1.PodStatus, t corev1.PodConditionType, on bool, now time.Time) {
	status := corev1.ConditionFalse
	if on {
		status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == t {
			if c.Status != status {
				c.Status, c.LastTransitionTime = status, metav1.NewTime(now)
			}
			return
		}
	}
	s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: status, LastTransitionTime: metav1.NewTime(now)})
}
