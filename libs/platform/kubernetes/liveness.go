package kubernetes

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
)

// The kubelet's defaults for a liveness probe, which together give a busy container as long as the other platforms do.
const (
	defaultPeriod   int32 = 10 // seconds
	defaultFailures int32 = 3
	busySeconds           = defaultPeriod * defaultFailures
)

// giveTime has no container be restarted sooner than by the kubelet's defaults for not answering its liveness probe: a shadow is
// there to be put under more load than it carries, and what is killed then is not measured. What ends by itself is restarted as
// before, and readiness is production's own.
func giveTime(spec *corev1.PodSpec) {
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			p := list[i].LivenessProbe
			if p == nil {
				continue
			}
			period := cmp.Or(p.PeriodSeconds, defaultPeriod)
			if failures := (busySeconds + period - 1) / period; cmp.Or(p.FailureThreshold, defaultFailures) < failures {
				p.FailureThreshold = failures
			}
		}
	}
}
