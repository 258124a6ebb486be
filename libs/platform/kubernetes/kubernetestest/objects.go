package kubernetestest

import (
	"io"
	"log"

	"github.com/foreshadow/foreshadow/libs/workload"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// Resources are those of the container of Workload: 100 thousandths of a core and 64 MiB.
const (
	CPUCores    = 0.1
	MemoryBytes = 64 << 20
)

// Workload makes an object of a kind of apps/v1, whose pods serve on port 8080; adjust may change it before. It returns when
// its pods exist.
func (c *Cluster) Workload(kind, name string, replicas int, adjust ...func(object map[string]any)) workload.Kubernetes {
	c.t.Helper()
	labels := map[string]any{"app": name}
	spec := map[string]any{
		"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec": map[string]any{"containers": []any{map[string]any{
				"name": "web", "image": "example.org/shop:1",
				"resources": map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}},
			}}},
		},
	}
	if kind == "StatefulSet" {
		spec["serviceName"] = name
	}
	o := map[string]any{"kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
	for _, f := range adjust {
		f(o)
	}
	c.Create("apps/v1", map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets"}[kind], o)
	c.Until("the pods of "+name, func() bool {
		n := 0
		pods := c.List("v1", "pods")
		for i := range pods {
			if pods[i].GetLabels()["app"] == name {
				n++
			}
		}
		return n == replicas
	})
	return workload.Kubernetes{Namespace: c.Namespace, APIVersion: "apps/v1", Kind: kind, Name: name, Port: 8080}
}

// Annotate has the pods of a workload carry an annotation, ReadyAfter for example.
func Annotate(key, value string) func(map[string]any) {
	return func(o map[string]any) { at(o, "spec", "template", "metadata", "annotations")[key] = value }
}
