package kubernetestest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ReadyAfter is the annotation of a pod template that says how long a pod takes to be ready; "never" is possible.
const ReadyAfter = "controlplane/ready-after"

// settle brings pods in line with the objects that own them; those whose owner is gone go, too.
func (f *Fake) settle(now time.Time) {
	owners := map[any]bool{}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		parts := strings.Split(path, "|")
		if o := f.objects[path]; o != nil && at(o, "spec")["template"] != nil && parts[1] != "replicasets" {
			owners[at(o, "metadata")["uid"]] = true
			f.settlePods(parts[2], o)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		o := f.objects[path]
		if owner, owned := at(o, "metadata", "labels")["owner"]; owned && o["kind"] == "Pod" && !owners[owner] {
			f.remove(path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		if o := f.objects[path]; o["kind"] == "Pod" {
			f.run(path, o, now)
		}
	}
}

func (f *Fake) settlePods(namespace string, owner map[string]any) {
	uid := at(owner, "metadata")["uid"]
	var pods []string
	for path, o := range f.objects {
		if o["kind"] == "Pod" && at(o, "metadata", "labels")["owner"] == uid {
			pods = append(pods, path)
		}
	}
	slices.SortFunc(pods, func(a, b string) int { // the first to go stands last
		if d := f.cost(b) - f.cost(a); d != 0 {
			return d
		}
		return int(number(at(f.objects[a], "metadata")["generation"])) - int(number(at(f.objects[b], "metadata")["generation"]))
	})
	want := int(number(at(owner, "spec")["replicas"]))
	for len(pods) > want {
		f.remove(pods[len(pods)-1])
		pods = pods[:len(pods)-1]
	}
	for n := len(pods); n < want; n++ {
		f.makePod(namespace, owner)
	}
}

func (f *Fake) cost(path string) int {
	text, _ := at(f.objects[path], "metadata", "annotations")["controller.kubernetes.io/pod-deletion-cost"].(string)
	n, _ := strconv.Atoi(text)
	return n
}

func (f *Fake) makePod(namespace string, owner map[string]any) {
	pod := clone(at(owner, "spec", "template"))
	name := fmt.Sprintf("%s-%d", at(owner, "metadata")["name"], f.serial+1)
	metadata := at(pod, "metadata")
	metadata["name"], metadata["namespace"] = name, namespace
	at(pod, "metadata", "labels")["owner"] = at(owner, "metadata")["uid"]
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	f.add(strings.Join([]string{"", "pods", namespace, name}, "|"), pod)
}

// run says that a pod runs, and is ready once its time has come.
func (f *Fake) run(path string, pod map[string]any, now time.Time) {
	version := at(pod, "metadata")["resourceVersion"]
	if f.settled[path] == version {
		return // it is ready, and as it was
	}
	next := clone(pod)
	status := at(next, "status")
	if status["startTime"] == nil {
		status["startTime"], status["phase"] = now.UTC().Format(time.RFC3339Nano), "Running"
		status["podIP"] = fmt.Sprintf("10.2.0.%d", f.serial%250+1)
	}
	ready := "False"
	after, _ := at(next, "metadata", "annotations")[ReadyAfter].(string)
	start, _ := time.Parse(time.RFC3339Nano, status["startTime"].(string))
	if d, err := time.ParseDuration(after); after == "" || err == nil && now.Sub(start) >= d {
		ready = "True"
	}
	since := now.UTC().Format(time.RFC3339)
	for _, c := range list(status["conditions"]) {
		if c["status"] == ready {
			since, _ = c["lastTransitionTime"].(string)
		}
	}
	status["conditions"] = []any{map[string]any{"type": "Ready", "status": ready, "lastTransitionTime": since}}
	var statuses []any
	for _, c := range list(at(next, "spec")["containers"]) {
		s := map[string]any{"name": c["name"]}
		if r, has := c["resources"]; has {
			s["resources"] = r
		}
		statuses = append(statuses, s)
	}
	status["containerStatuses"] = statuses
	switch {
	case !equal(pod, next):
		f.put(path, next)
	case ready == "True":
		f.settled[path] = version
	}
}

func list(v any) []map[string]any {
	items, _ := v.([]any)
	out := make([]map[string]any, 0, len(items))
	for _, i := range items {
		if m, isMap := i.(map[string]any); isMap {
			out = append(out, m)
		}
	}
	return out
}
