package kubernetestest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Fake is the stand-in for an API server. Its objects are JSON; pods of Deployments and StatefulSets appear and end at
// once when the number of replicas changes.
type Fake struct {
	mu      sync.Mutex
	version int64
	objects map[string]map[string]any // by path
	events  []event
	oldest  int64 // watches from before it have expired
	changed chan struct{}
	serial  int
	settled map[string]any // versions of the pods for which there is nothing to do
}

// event is one change, for watches.
type event struct {
	version int64
	kind    string
	path    string
	object  map[string]any
}

// NewFake returns an API server without objects.
func NewFake() *Fake {
	return &Fake{version: 100, objects: map[string]map[string]any{}, settled: map[string]any{}, changed: make(chan struct{})}
}

// request is one to a path that was understood.
type request struct {
	resource resource
	// collection is the path of the objects, path that of one of them.
	collection, path string
	name, sub        string
	namespace        string
}

// ServeHTTP implements http.Handler.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := discover(r.URL.Path); answer != nil {
		answerJSON(w, http.StatusOK, answer)
		return
	}
	q, known := parse(r.URL.Path)
	if !known {
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
		return
	}
	switch {
	case r.Method == http.MethodGet && q.name == "" && r.URL.Query().Get("watch") != "":
		f.watch(w, r, q)
	case r.Method == http.MethodGet && q.name == "":
		f.list(w, r, q)
	default:
		f.one(w, r, q)
	}
}

// parse takes a path apart: /api/v1/namespaces/shop/pods/web-1/resize for example.
func parse(path string) (request, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var group, version string
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return request{}, false
	}
	q := request{}
	if parts[0] == "namespaces" && len(parts) >= 3 {
		q.namespace, parts = parts[1], parts[2:]
	}
	for _, r := range resources {
		if r.group == group && r.version == version && r.plural == parts[0] {
			q.resource = r
		}
	}
	if q.resource.plural == "" || len(parts) > 3 {
		return request{}, false
	}
	q.collection = strings.Join([]string{group, parts[0], q.namespace}, "|")
	if len(parts) > 1 {
		q.name = parts[1]
	}
	if len(parts) > 2 {
		q.sub = parts[2]
	}
	q.path = q.collection + "|" + q.name
	return q, true
}

// under are the paths of a collection, that of all namespaces included.
func (f *Fake) under(q request) []string {
	var paths []string
	prefix := q.collection + "|"
	if q.namespace == "" {
		prefix = q.collection
	}
	for p := range f.objects {
		if strings.HasPrefix(p, prefix) {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func (f *Fake) list(w http.ResponseWriter, r *http.Request, q request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	items := []any{}
	for _, p := range f.under(q) {
		if selector.Matches(labels.Set(labelsOf(f.objects[p]))) {
			items = append(items, f.objects[p])
		}
	}
	answerJSON(w, http.StatusOK, map[string]any{
		"apiVersion": q.resource.apiVersion(), "kind": q.resource.kind + "List",
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(f.version)}, "items": items,
	})
}

// one reads or writes one object.
func (f *Fake) one(w http.ResponseWriter, r *http.Request, q request) {
	var body map[string]any
	if r.Method != http.MethodGet && r.ContentLength != 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	if r.Method == http.MethodPost {
		f.create(w, q, body)
		return
	}
	old, found := f.objects[q.path]
	if !found || q.sub != "" && !slices.Contains(q.resource.subresources, q.sub) {
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", q.resource.plural, q.name))
		return
	}
	if r.Method != http.MethodGet && stale(old, body) {
		refuse(w, http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: the object has been modified", q.resource.plural, q.name))
		return
	}
	switch {
	case r.Method == http.MethodDelete && finalized(old):
		f.remove(q.path)
		answerJSON(w, http.StatusOK, old)
		return
	case r.Method == http.MethodDelete:
		next := clone(old)
		at(next, "metadata")["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		f.put(q.path, next)
	case q.sub == "scale" && r.Method == http.MethodPut:
		next := clone(old)
		at(next, "spec")["replicas"] = at(body, "spec")["replicas"]
		f.put(q.path, next)
	case r.Method == http.MethodPut:
		f.put(q.path, body)
	case r.Method == http.MethodPatch:
		next, err := patched(q.resource, r.Header.Get("Content-Type"), old, body)
		if err != nil {
			refuse(w, http.StatusUnprocessableEntity, "Invalid", err.Error())
			return
		}
		f.put(q.path, next)
		if at(next, "metadata")["deletionTimestamp"] != nil && finalized(next) {
			f.remove(q.path)
			answerJSON(w, http.StatusOK, next)
			return
		}
	}
	f.settle(time.Now())
	if q.sub == "scale" {
		answerJSON(w, http.StatusOK, scaleOf(f.objects[q.path]))
		return
	}
	answerJSON(w, http.StatusOK, f.objects[q.path])
}

func (f *Fake) create(w http.ResponseWriter, q request, body map[string]any) {
	metadata := at(body, "metadata")
	name, _ := metadata["name"].(string)
	path := q.collection + "|" + name
	if _, taken := f.objects[path]; taken {
		refuse(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("%s %q already exists", q.resource.plural, name))
		return
	}
	metadata["namespace"] = q.namespace
	body["apiVersion"], body["kind"] = q.resource.apiVersion(), q.resource.kind
	f.add(path, body)
	f.settle(time.Now())
	answerJSON(w, http.StatusCreated, f.objects[path])
}

// add stores a new object.
func (f *Fake) add(path string, body map[string]any) {
	f.serial++
	metadata := at(body, "metadata")
	metadata["uid"] = fmt.Sprintf("uid-%d", f.serial)
	metadata["generation"] = int64(0)
	metadata["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	f.put(path, body)
}

// put stores an object under the next version. Its generation grows when its spec is another; that of a Deployment, as in the
// real API server, with its annotations too.
func (f *Fake) put(path string, body map[string]any) {
	old := f.objects[path]
	f.version++
	body = clone(body)
	metadata := at(body, "metadata")
	generation := number(at(old, "metadata")["generation"])
	annotated := body["kind"] == "Deployment" && !equal(at(old, "metadata")["annotations"], metadata["annotations"])
	if old == nil || annotated || !equal(old["spec"], body["spec"]) {
		generation++
	}
	metadata["generation"], metadata["resourceVersion"] = generation, strconv.FormatInt(f.version, 10)
	f.objects[path] = body
	kind := "MODIFIED"
	if old == nil {
		kind = "ADDED"
	}
	f.note(kind, path, body)
}

func (f *Fake) remove(path string) {
	old := f.objects[path]
	f.version++
	delete(f.objects, path)
	f.note("DELETED", path, old)
}

// finalized says whether nothing holds an object that is deleted.
func finalized(o map[string]any) bool {
	held, _ := at(o, "metadata")["finalizers"].([]any)
	return len(held) == 0
}

func (f *Fake) note(kind, path string, o map[string]any) {
	f.events = append(f.events, event{version: f.version, kind: kind, path: path, object: o})
	close(f.changed)
	f.changed = make(chan struct{})
}

// stale says whether a body names a version, or an object, that is not the present one.
func stale(old, body map[string]any) bool {
	for _, where := range []string{"metadata", "preconditions"} { // the latter of a deletion
		named, _ := body[where].(map[string]any)
		for _, key := range []string{"resourceVersion", "uid"} {
			if want, _ := named[key].(string); want != "" && want != at(old, "metadata")[key] {
				return true
			}
		}
	}
	return false
}

func labelsOf(o map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range at(o, "metadata", "labels") {
		out[k], _ = v.(string)
	}
	return out
}

// at returns the map at a path, made when it is missing and its parents are there; a nil map of nil.
func at(o map[string]any, path ...string) map[string]any {
	for _, p := range path {
		if o == nil {
			return nil
		}
		next, _ := o[p].(map[string]any)
		if next == nil {
			next = map[string]any{}
			o[p] = next
		}
		o = next
	}
	return o
}

func number(v any) int64 {
	switch n := v.(type) {
	case float64:
		return int64(n)
	case int64:
		return n
	default:
		return 0
	}
}

func clone(o map[string]any) map[string]any {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) // it came as JSON
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// refuse answers as the API server does.
func refuse(w http.ResponseWriter, status int, reason, message string) {
	answerJSON(w, status, map[string]any{
		"apiVersion": "v1", "kind": "Status", "status": metav1.StatusFailure, "reason": reason, "message": message, "code": status,
	})
}

// Objects returns the objects of a resource, in the order of their names.
func (f *Fake) Objects(plural string) []map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []map[string]any
	for _, p := range slices.Sorted(maps.Keys(f.objects)) {
		if strings.Split(p, "|")[1] == plural {
			out = append(out, f.objects[p])
		}
	}
	return out
}
