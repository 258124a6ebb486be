package kubernetes

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// usageSource reads what the pods of a group have used. A pod without a reading is left out: absent is not zero.
type usageSource interface {
	read(ctx context.Context, r *reading) ([]platform.Usage, error)
}

func newUsageSource(c *Client) usageSource {
	if c.cfg.Usage == UsagePrometheus {
		return newPrometheus(c.cfg.Prometheus)
	}
	return &metricsAPI{client: c, used: map[string]counter{}}
}

// Usage returns a reading of every pod of a group that there is one of.
func (c *Client) Usage(ctx context.Context, group string) ([]platform.Usage, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := c.look(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("read usage of group %q: %w", group, err)
	}
	usage, err := c.usage.read(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("read usage of group %q: %w", group, err)
	}
	return usage, nil
}

// usageOf makes the reading of a pod.
func (r *reading) usageOf(p *corev1.Pod) platform.Usage {
	i := r.instance(p)
	return platform.Usage{Instance: i.ID, Ready: i.Phase == platform.Ready}
}

var podMetricsResource = schema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}

// metricsAPI reads metrics.k8s.io. It says how many cores a pod used over a stretch of time and not how much it used so far,
// so that the stretches are summed up here, from the first reading on.
type metricsAPI struct {
	client *Client

	mu   sync.Mutex
	used map[string]counter // by instance
}

// counter is what a pod has used up to a time.
type counter struct {
	seconds float64
	at      time.Time
}

// forgetAfter is how long a pod without a reading is remembered.
const forgetAfter = 10 * time.Minute

func (m *metricsAPI) read(ctx context.Context, r *reading) ([]platform.Usage, error) {
	list, err := m.client.dynamic.Resource(podMetricsResource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: r.scale.Status.Selector})
	if err != nil {
		return nil, fmt.Errorf("read metrics.k8s.io: %w", err)
	}
	readings := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		readings[list.Items[i].GetName()] = &list.Items[i]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []platform.Usage
	var newest time.Time
	for i := range r.pods {
		reading, found := readings[r.pods[i].Name]
		if !found {
			continue
		}
		u := r.usageOf(&r.pods[i])
		if err := m.count(&u, reading); err != nil {
			return nil, fmt.Errorf("metrics of pod %s: %w", r.pods[i].Name, err)
		}
		out = append(out, u)
		if u.Time.After(newest) {
			newest = u.Time
		}
	}
	for id, c := range m.used {
		if newest.Sub(c.at) > forgetAfter {
			delete(m.used, id)
		}
	}
	return out, nil
}

// count adds a reading to what is known of a pod. The same reading again adds nothing.
func (m *metricsAPI) count(u *platform.Usage, reading *unstructured.Unstructured) error {
	text, _, _ := unstructured.NestedString(reading.Object, "timestamp")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("read timestamp: %w", err)
	}
	containers, _, _ := unstructured.NestedSlice(reading.Object, "containers")
	var cores float64
	for _, c := range containers {
		usage, _, _ := unstructured.NestedStringMap(c.(map[string]any), "usage")
		cpu, err := resource.ParseQuantity(usage["cpu"])
		if err != nil {
			return fmt.Errorf("read cpu %q: %w", usage["cpu"], err)
		}
		memory, err := resource.ParseQuantity(usage["memory"])
		if err != nil {
			return fmt.Errorf("read memory %q: %w", usage["memory"], err)
		}
		cores += cpu.AsApproximateFloat64()
		u.MemoryBytes += uint64(max(0, memory.Value()))
	}
	c, known := m.used[u.Instance]
	if known && at.After(c.at) {
		c.seconds += cores * at.Sub(c.at).Seconds()
	}
	if !known || at.After(c.at) {
		c.at = at
		m.used[u.Instance] = c
	}
	u.CPUSeconds, u.Time = c.seconds, c.at
	return nil
}
