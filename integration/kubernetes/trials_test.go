package kubernetes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// trialRights runs a trial of the shadow with the rights that the chart gives: the shadow-runner may begin, renew and end it,
// the provisioner may only remove one that is over, and nobody else may anything.
func trialRights(t *testing.T, as func(service string) *kubernetes.Client) {
	w := workload.Default()
	w.Production = workload.Target{Platform: kubernetes.Platform, Group: "shop", Kubernetes: workload.Kubernetes{Namespace: "shop", Name: "web", Port: 8080}}
	w.Shadow = workload.Target{Platform: kubernetes.Platform, Group: "shadow", Kubernetes: workload.Kubernetes{Namespace: "shop-shadow", Name: "web", Port: 8080}}
	of := func(service string) *kubernetes.Trials { return as(service).Trials([]workload.Workload{w}, nil) }
	runner, ask := of("shadow-runner"), platform.Trial{Name: "x", Instances: 2, CPUCores: 0.2, Lease: time.Second}
	kubernetestest.Until(t, "a trial to run", func() bool {
		s, err := runner.Try(t.Context(), "shadow", ask)
		if err != nil {
			t.Fatalf("the shadow-runner cannot try: %v", err)
		}
		return s.Ready() == 2
	})
	for range 2 {
		if err := runner.EndTrial(t.Context(), "shadow", "x"); err != nil {
			t.Errorf("the shadow-runner cannot end a trial: %v", err)
		}
	}
	gone := func(trial string) func() bool {
		return func() bool {
			_, err := as("shadow-runner").State(t.Context(), platform.TrialGroup("shadow", trial))
			return errors.Is(err, platform.ErrNotFound)
		}
	}
	kubernetestest.Until(t, "the trial to be gone", gone("x"))
	ask.Name = "left"
	if _, err := runner.Try(t.Context(), "shadow", ask); err != nil {
		t.Errorf("the shadow-runner cannot try again: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- of("provisioner").Keep(ctx) }()
	kubernetestest.Until(t, "the provisioner to remove a trial that is over", gone("left"))
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, service := range []string{"provisioner", "replicator", "console"} {
		if _, err := of(service).Try(t.Context(), "shadow", ask); !apierrors.IsForbidden(err) && !errors.Is(err, platform.ErrUnsupported) {
			t.Errorf("%s tries: %v", service, err)
		}
	}
	deployments := as("shadow-runner").Dynamic().Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	for in, name := range map[string]string{"shop-shadow": "web", "shop": "web", namespace: "foreshadow-console"} {
		if err := deployments.Namespace(in).Delete(t.Context(), name, metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("the shadow-runner removes %s in %s: %v", name, in, err)
		}
		if _, err := deployments.Namespace(in).Create(t.Context(), deployment(in, "y"), metav1.CreateOptions{}); in != "shop-shadow" && !apierrors.IsForbidden(err) {
			t.Errorf("the shadow-runner makes something in %s: %v", in, err)
		}
	}
}
