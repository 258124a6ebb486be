package shadowscaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/workload"
)

var resource = schema.GroupVersionResource{Group: Group, Version: Version, Resource: Plural}

// Objects are the ShadowScalers of a namespace.
type Objects struct {
	client dynamic.ResourceInterface
	// platform is where the shadows are that were made for them.
	platform *kubernetes.Client
}

// New returns those of a namespace; it does no I/O.
func New(client *kubernetes.Client, namespace string) *Objects {
	return &Objects{client: client.Dynamic().Resource(resource).Namespace(namespace), platform: client}
}

// Scaler is one object, read.
type Scaler struct {
	// Name of the object and of its workload.
	Name string
	// Generation of its spec.
	Generation int64
	// Workload is what it declares; Err says why it cannot be used.
	Workload workload.Workload
	Err      error
	// Going: it was deleted, and is there until what was made for it is gone.
	Going bool

	object *unstructured.Unstructured
}

// List reads all of them, by name. Two with one target cannot both be used: the elder one is.
func (o *Objects) List(ctx context.Context) ([]Scaler, error) {
	list, err := o.client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list ShadowScalers: %w", err)
	}
	items := list.Items
	slices.SortFunc(items, func(a, b unstructured.Unstructured) int {
		if d := a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time); d != 0 {
			return d
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	out := make([]Scaler, 0, len(items))
	owners := map[string]string{}
	for i := range items {
		s := Scaler{
			Name: items[i].GetName(), Generation: items[i].GetGeneration(), Going: items[i].GetDeletionTimestamp() != nil, object: &items[i],
		}
		spec, _, _ := unstructured.NestedMap(items[i].Object, "spec")
		s.Workload, s.Err = Decode(s.Name, spec)
		target := s.Workload.Production.Kubernetes
		key := fmt.Sprint(target.APIVersion, target.Kind, target.Namespace, target.Name)
		if owner, taken := owners[key]; taken && s.Err == nil {
			s.Err = fmt.Errorf("production.kubernetes: %s/%s is scaled by ShadowScaler %q already", target.Namespace, target.Name, owner)
		}
		if s.Err == nil {
			owners[key] = s.Name
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Scaler) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Load returns what the valid ones declare, and a fingerprint of it. One that was deleted declares nothing any more.
func (o *Objects) Load(ctx context.Context) ([]workload.Workload, string, error) {
	list, err := o.List(ctx)
	if err != nil {
		return nil, "", err
	}
	var workloads []workload.Workload
	var prints []string
	for _, s := range list {
		if s.Err == nil && !s.Going {
			workloads = append(workloads, s.Workload)
			prints = append(prints, fmt.Sprintf("%s/%d", s.object.GetUID(), s.Generation))
		}
	}
	return workloads, strings.Join(prints, " "), nil
}

// checkEvery is the time between two looks at what is declared.
const checkEvery = 2 * time.Second

// ErrChanged says that other workloads are declared than were loaded.
var ErrChanged = errors.New("the declared workloads have changed")

// Changed returns an ErrChanged once something else is declared than the fingerprint says, and nil when ctx ends. While the API
// server is away nothing has changed.
func (o *Objects) Changed(ctx context.Context, fingerprint string) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, now, err := o.Load(ctx); err == nil && now != fingerprint {
			return ErrChanged
		}
	}
}

// Status is what is known of a workload.
type Status struct {
	// Desired and Ready instances of production; Known says whether they were read.
	Desired, Ready int
	Known          bool
	// Recommendation is the newest; nil before the first.
	Recommendation *Recommendation
	// Loaded: the provisioner works with what is declared now.
	Loaded bool
}

// Recommendation is what the predictor last said.
type Recommendation struct {
	ID, Policy, Reason string
	Instances          int
	ExpireTime         time.Time
}

// Report writes the status of an object when it is not what it says already. One that is gone or was changed meanwhile is
// reported at the next call.
func (o *Objects) Report(ctx context.Context, s Scaler, st Status, now time.Time) error {
	status := s.status(st, now)
	old, _, _ := unstructured.NestedMap(s.object.Object, "status")
	if same(old, status) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": s.object.GetResourceVersion()}, "status": status})
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	_, err = o.client.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "foreshadow"}, "status")
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("report on ShadowScaler %s: %w", s.Name, err)
	}
	return nil
}

func (s Scaler) status(st Status, now time.Time) map[string]any {
	out := map[string]any{"observedGeneration": s.Generation}
	valid := condition{kind: "Valid", on: s.Err == nil, reason: "Accepted", message: "the spec is a workload"}
	if s.Err != nil {
		valid.reason, valid.message = "Faulty", strings.ReplaceAll(s.Err.Error(), "\n", "; ")
	}
	loaded := condition{kind: "Loaded", on: s.Err == nil && st.Loaded, reason: "Working", message: "the provisioner works with it"}
	if !loaded.on {
		loaded.reason, loaded.message = "NotLoaded", "the provisioner does not work with it"
	}
	conditions := []any{s.condition(valid, now), s.condition(loaded, now)}
	if left := s.left(); len(left) > 0 {
		conditions = append(conditions, s.condition(condition{
			kind: "ShadowLeft", on: true, reason: "NotRemoved", message: "of an earlier spec, and to be removed: " + strings.Join(left, ", "),
		}, now))
	}
	out["conditions"] = conditions
	if st.Known {
		out["desired"], out["ready"] = int64(st.Desired), int64(st.Ready)
	}
	if r := st.Recommendation; r != nil && s.Err == nil {
		out["recommendation"] = map[string]any{
			"id": r.ID, "instances": int64(r.Instances), "policy": r.Policy, "reason": r.Reason,
			"expireTime": r.ExpireTime.UTC().Format(time.RFC3339),
		}
	}
	return out
}

// condition is one of the status.
type condition struct {
	kind            string
	on              bool
	reason, message string
}

// condition keeps the time of the last transition.
func (s Scaler) condition(c condition, now time.Time) map[string]any {
	status := "False"
	if c.on {
		status = "True"
	}
	since := now.UTC().Format(time.RFC3339)
	old, _, _ := unstructured.NestedSlice(s.object.Object, "status", "conditions")
	for _, v := range old {
		if m, isMap := v.(map[string]any); isMap && m["type"] == c.kind && m["status"] == status {
			since, _ = m["lastTransitionTime"].(string)
		}
	}
	return map[string]any{
		"type": c.kind, "status": status, "reason": c.reason, "message": c.message, "lastTransitionTime": since,
		"observedGeneration": s.Generation,
	}
}

// same compares what would be written; keys of which it says nothing are left as they are.
func same(old, next map[string]any) bool {
	for _, key := range slices.Collect(maps.Keys(next)) {
		a, errA := json.Marshal(old[key])
		b, errB := json.Marshal(next[key])
		if errA != nil || errB != nil || string(a) != string(b) {
			return false
		}
	}
	return true
}
