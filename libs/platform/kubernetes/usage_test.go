package kubernetes

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func groupsOf(k workload.Kubernetes) map[string]workload.Kubernetes {
	return map[string]workload.Kubernetes{"shop": k}
}

func TestUsageFromMetrics(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	r := newRig(t, groupsOf(c.Workload(deployment, "shop", 2)), c)
	s := r.await("two ready pods", ready(2))
	pod := strings.Split(s.Instances[0].ID, "/")[0]
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	metrics := func(at time.Time, cpu string) map[string]any {
		return map[string]any{
			"metadata":  map[string]any{"name": pod, "labels": map[string]any{"app": "shop"}},
			"timestamp": at.Format(time.RFC3339), "window": "15s",
			"containers": []any{
				map[string]any{"name": "web", "usage": map[string]any{"cpu": cpu, "memory": "32Mi"}},
				map[string]any{"name": "sidecar", "usage": map[string]any{"cpu": "50m", "memory": "8Mi"}},
			},
		}
	}
	c.Create("metrics.k8s.io/v1beta1", "pods", metrics(at, "150m"))
	for _, reading := range []struct {
		after time.Duration
		cpu   string
		want  float64
	}{{0, "150m", 0}, {15 * time.Second, "250m", 4.5}, {15 * time.Second, "250m", 4.5}, {30 * time.Second, "50m", 6}} {
		c.Patch("metrics.k8s.io/v1beta1", "pods", pod, metrics(at.Add(reading.after), reading.cpu))
		usage, err := r.client.Usage(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if len(usage) != 1 {
			t.Fatalf("usage %+v, want that of the pod that was measured", usage)
		}
		u := usage[0]
		if u.Instance != s.Instances[0].ID || !u.Ready || math.Abs(u.CPUSeconds-reading.want) > 1e-9 || u.MemoryBytes != 40<<20 || !u.Time.Equal(at.Add(reading.after)) {
			t.Errorf("usage %+v after %s, want %v CPU seconds", u, reading.after, reading.want)
		}
	}
}

func TestMetricsThatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	r := newRig(t, groupsOf(c.Workload(deployment, "shop", 1)), c)
	pod := strings.Split(r.state().Instances[0].ID, "/")[0]
	c.Create("metrics.k8s.io/v1beta1", "pods", map[string]any{
		"metadata": map[string]any{"name": pod, "labels": map[string]any{"app": "shop"}}, "timestamp": "2026-01-02T03:04:05Z",
		"containers": []any{map[string]any{"name": "web", "usage": map[string]any{"cpu": "lots", "memory": "1Mi"}}},
	})
	if u, err := r.client.Usage(t.Context(), "shop"); err == nil {
		t.Errorf("usage %+v", u)
	}
}

func TestUsageFromPrometheus(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	var pods []string
	var queries []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		query := q.FormValue("query")
		queries = append(queries, query)
		value := "7"
		for part, v := range map[string]string{"cpu_usage": "12.5", "memory": "1024", "receive": "100"} {
			if strings.Contains(query, part) {
				value = v
			}
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[
			{"metric":{"pod":%q},"value":[1767322000.5,%q]},{"metric":{"pod":%q},"value":[1767322000.5,"NaN"]}]}}`, pods[0], value, pods[1])
	}))
	t.Cleanup(server.Close)
	r := newRig(t, groupsOf(c.Workload(deployment, "shop", 2)), c, func(cfg *Config) {
		cfg.Usage, cfg.Prometheus = UsagePrometheus, server.URL+"/"
	})
	for _, i := range r.state().Instances {
		pods = append(pods, strings.Split(i.ID, "/")[0])
	}
	usage, err := r.client.Usage(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(usage) != 1 {
		t.Fatalf("usage %+v, want that of the pod with numbers", usage)
	}
	u := usage[0]
	if u.CPUSeconds != 12.5 || u.MemoryBytes != 1024 || u.ReceivedBytes != 100 || u.TransmittedBytes != 7 || u.Time.UnixMilli() != 1767322000500 {
		t.Errorf("usage %+v", u)
	}
	if want := fmt.Sprintf(`namespace="test",pod=~"%s|%s"`, pods[0], pods[1]); !strings.Contains(queries[0], want) {
		t.Errorf("query %s, want it to have %s", queries[0], want)
	}
}

func TestPrometheusThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"an error": `{"status":"error","error":"query timed out"}`, "no JSON": `<html>`, "nothing": ``,
	} {
		if v, err := decodeVector(http.StatusOK, []byte(answer)); err == nil {
			t.Errorf("%s gives %v", name, v)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Usage: "guess", RequestsPerSecond: math.NaN()}.Validate()
	if err == nil || !strings.Contains(err.Error(), "usage") || !strings.Contains(err.Error(), "requests_per_second") {
		t.Errorf("faults %v", err)
	}
	if err := (Config{Usage: UsagePrometheus, RequestsPerSecond: 1}).Validate(); err == nil {
		t.Error("Prometheus without an address")
	}
	w := workload.Workload{Name: "a", Production: workload.Target{Platform: Platform, Group: "g", Kubernetes: workload.Kubernetes{Name: "x"}}}
	other := w
	other.Name, other.Production.Kubernetes.Name = "b", "y"
	if _, err := Groups([]workload.Workload{w, other}); err == nil {
		t.Error("two objects share a group")
	}
	if g, err := Groups([]workload.Workload{w}); err != nil || len(g) != 1 {
		t.Errorf("groups %v, %v", g, err)
	}
}

func FuzzDecodeVector(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"result":[{"metric":{"pod":"a"},"value":[1,"2"]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeVector(http.StatusOK, data)
		for pod, s := range v {
			if err != nil || !(s.value >= 0) {
				t.Errorf("pod %q: %v, %v", pod, s, err)
			}
		}
	})
}
