package kubernetes

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// The annotations that bound the network bandwidth of a pod, in bits per second; its network plugin reads them when the pod
// is made.
const (
	ingressAnnotation = "kubernetes.io/ingress-bandwidth"
	egressAnnotation  = "kubernetes.io/egress-bandwidth"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// container returns the index of the container that serves, -1 when there is none.
func (r *reading) container(spec *corev1.PodSpec) int {
	if r.Container == "" {
		return min(0, len(spec.Containers)-1)
	}
	for i := range spec.Containers {
		if spec.Containers[i].Name == r.Container {
			return i
		}
	}
	return -1
}

// template is the pod template of the object; nil when it has none where Kubernetes' own kinds have theirs.
func (r *reading) template() *corev1.PodTemplateSpec {
	m, found, err := unstructured.NestedMap(r.body.Object, "spec", "template")
	if err != nil || !found {
		return nil
	}
	var t corev1.PodTemplateSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &t) != nil {
		return nil
	}
	return &t
}

func (r *reading) templateSize() platform.Size {
	t := r.template()
	if t == nil {
		return platform.Size{}
	}
	return r.sizeOf(&t.Spec, t.Annotations, nil)
}

// podSize is what a pod has, not what was asked for: a resize that is under way has not happened.
func (r *reading) podSize(p *corev1.Pod) platform.Size {
	return r.sizeOf(&p.Spec, p.Annotations, p.Status.ContainerStatuses)
}

func (r *reading) sizeOf(spec *corev1.PodSpec, annotations map[string]string, statuses []corev1.ContainerStatus) platform.Size {
	var s platform.Size
	i := r.container(spec)
	if i < 0 {
		return s
	}
	requests := spec.Containers[i].Resources.Requests
	for _, status := range statuses {
		if status.Name == spec.Containers[i].Name && status.Resources != nil {
			requests = status.Resources.Requests
		}
	}
	s.CPUCores = float64(requests.Cpu().MilliValue()) / 1000
	s.MemoryBytes = requests.Memory().Value()
	if q, err := resource.ParseQuantity(annotations[ingressAnnotation]); err == nil {
		s.NetworkBytesPerSecond = q.AsApproximateFloat64() / 8
	}
	return s
}

// differs says whether an instance of size a has to be changed to have what is asked for of b. Kubernetes counts CPU in
// thousandths.
func differs(a, b platform.Size) bool {
	return b.CPUCores > 0 && milli(a.CPUCores) != milli(b.CPUCores) || b.MemoryBytes > 0 && a.MemoryBytes != b.MemoryBytes
}

func milli(cores float64) int64 { return int64(math.Ceil(cores*1000 - 1e-9)) }

// resources is a container's requests with another size. Limits keep their proportion to the requests: whoever set them
// meant a headroom. A limit on its own, without a request, is left alone.
func resources(old corev1.ResourceRequirements, size platform.Size) map[string]any {
	requests, limits := map[string]any{}, map[string]any{}
	set := func(name corev1.ResourceName, q *resource.Quantity) {
		requests[string(name)] = q.String()
		request, limit := old.Requests[name], old.Limits[name]
		switch {
		case limit.IsZero():
		case request.IsZero() || request.Cmp(limit) == 0:
			limits[string(name)] = q.String()
		default:
			scaled := q.AsApproximateFloat64() * limit.AsApproximateFloat64() / request.AsApproximateFloat64()
			if name == corev1.ResourceCPU {
				limits[string(name)] = resource.NewMilliQuantity(milli(scaled), resource.DecimalSI).String()
			} else {
				limits[string(name)] = resource.NewQuantity(int64(math.Ceil(scaled)), resource.BinarySI).String()
			}
		}
	}
	if size.CPUCores > 0 {
		set(corev1.ResourceCPU, resource.NewMilliQuantity(milli(size.CPUCores), resource.DecimalSI))
	}
	if size.MemoryBytes > 0 {
		set(corev1.ResourceMemory, resource.NewQuantity(size.MemoryBytes, resource.BinarySI))
	}
	out := map[string]any{"requests": requests}
	if len(limits) > 0 {
		out["limits"] = limits
	}
	return out
}

// bandwidth is the annotations of a size.
func bandwidth(size platform.Size) map[string]any {
	if size.NetworkBytesPerSecond <= 0 {
		return nil
	}
	bits := fmt.Sprint(int64(math.Ceil(size.NetworkBytesPerSecond * 8)))
	return map[string]any{ingressAnnotation: bits, egressAnnotation: bits}
}
