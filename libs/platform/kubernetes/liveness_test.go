package kubernetes

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func TestABusyShadowIsNotKilled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ have, want *corev1.Probe }{
		"none":            {nil, nil},
		"the defaults":    {&corev1.Probe{TimeoutSeconds: 2}, &corev1.Probe{TimeoutSeconds: 2}},
		"often":           {&corev1.Probe{PeriodSeconds: 2, FailureThreshold: 3}, &corev1.Probe{PeriodSeconds: 2, FailureThreshold: 15}},
		"often, not even": {&corev1.Probe{PeriodSeconds: 7}, &corev1.Probe{PeriodSeconds: 7, FailureThreshold: 5}},
		"at once":         {&corev1.Probe{FailureThreshold: 1}, &corev1.Probe{FailureThreshold: 3}},
		"patient enough":  {&corev1.Probe{PeriodSeconds: 20, FailureThreshold: 6}, &corev1.Probe{PeriodSeconds: 20, FailureThreshold: 6}},
		"seldom":          {&corev1.Probe{PeriodSeconds: 60, FailureThreshold: 1}, &corev1.Probe{PeriodSeconds: 60, FailureThreshold: 1}},
	} {
		source := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "sidecar", LivenessProbe: tc.have.DeepCopy()}},
			Containers:     []corev1.Container{{Name: "app", LivenessProbe: tc.have, ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}}},
		}}
		shadow := object{}
		shadow.Container = "app"
		of, err := copied(source, shadow)
		if err != nil {
			t.Fatal(err)
		}
		tried, err := varied(source, shadow, platform.Trial{Name: "t"})
		if err != nil {
			t.Fatal(err)
		}
		for what, got := range map[string]*corev1.PodTemplateSpec{"copy": of, "trial": tried} {
			for _, c := range append(got.Spec.InitContainers, got.Spec.Containers...) {
				if diff := cmp.Diff(tc.want, c.LivenessProbe); diff != "" {
					t.Errorf("%s, %s of a %s:\n%s", name, c.Name, what, diff)
				}
			}
			if r := got.Spec.Containers[0].ReadinessProbe; r.PeriodSeconds != 1 || r.FailureThreshold != 1 {
				t.Errorf("%s: readiness of a %s is %+v", name, what, r)
			}
		}
		if diff := cmp.Diff(tc.have, source.Spec.InitContainers[0].LivenessProbe); diff != "" {
			t.Errorf("%s: production's own was changed:\n%s", name, diff)
		}
	}
}
