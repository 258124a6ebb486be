package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// trials is a rig whose group shop is a shadow of which there may be trials. Production is on Kubernetes, elsewhere.
type trials struct {
	*rig
	*Trials
	client *Client // of both
}

func newTrials(t *testing.T, kind string, adjust ...func(map[string]any)) *trials {
	t.Helper()
	r := shop(t, kind, 1, adjust...)
	return r.trials("production")
}

// trials are those of the group shop, with production in a namespace.
func (r *rig) trials(production string) *trials {
	w := workload.Default()
	w.Shadow = workload.Target{Platform: Platform, Group: "shop", Kubernetes: r.client.groups["shop"]}
	w.Production = workload.Target{Platform: Platform, Group: "web", Kubernetes: workload.Kubernetes{Namespace: production, Name: "web", Port: 8080}}
	return &trials{rig: r, Trials: r.client.Trials([]workload.Workload{w}, nil), client: r.client}
}

func ask(name string, instances int) platform.Trial {
	return platform.Trial{Name: name, Instances: instances, Lease: time.Minute}
}

// begin tries until what came before has ended.
func (r *trials) begin(a platform.Trial) platform.State {
	r.t.Helper()
	s, err := r.Try(r.t.Context(), "shop", a)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// deployments are the objects of trials there are.
func (r *trials) deployments() []unstructured.Unstructured {
	r.t.Helper()
	return slices.DeleteFunc(r.List("apps/v1", "deployments"), func(o unstructured.Unstructured) bool { return o.GetLabels()[trialOfLabel] == "" })
}

func (r *trials) awaitTrial(a platform.Trial, ok func(platform.State) bool) platform.State {
	r.t.Helper()
	var s platform.State
	r.Until("the trial "+a.Name, func() bool {
		s = r.begin(a)
		return ok(s)
	})
	return s
}

func (r *trials) awaitEnd(trial string) {
	r.t.Helper()
	r.Until("the end of the trial "+trial, func() bool {
		_, err := r.client.State(r.t.Context(), platform.TrialGroup("shop", trial))
		return errors.Is(err, platform.ErrNotFound)
	})
}

func TestATrialRunsBesideItsShadow(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment, func(o map[string]any) {
		c := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		c["env"] = []any{map[string]any{"name": "WORKERS", "value": "1"}, map[string]any{"name": "MODE", "value": "shadow"}}
	})
	shadow := r.await("the shadow", ready(1))
	a := platform.Trial{
		Name: "x-1", Instances: 2, Env: map[string]string{"WORKERS": "8"}, Image: "example.org/shop:2", CPUCores: 0.25, MemoryBytes: 128 << 20, Lease: time.Minute,
	}
	s := r.awaitTrial(a, ready(2))
	if s.Group != "shop.x-1" || s.Desired != 2 || s.Size != a.Size() || s.Instances[0].Version == shadow.Instances[0].Version || !strings.HasSuffix(s.Instances[0].Address, ":8080") {
		t.Errorf("trial %+v", s)
	}
	o := r.deployments()
	if len(o) != 1 || len(o[0].GetOwnerReferences()) != 1 || o[0].GetOwnerReferences()[0].Name != "shop" || o[0].GetNamespace() != r.Namespace {
		t.Fatalf("objects %v", o)
	}
	text, err := json.Marshal(o[0].Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"example.org/shop:2", `{"name":"WORKERS","value":"8"}`, `{"name":"MODE","value":"shadow"}`, `"limits":{"cpu":"250m","memory":"128Mi"}`, `"requests":{"cpu":"250m","memory":"128Mi"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the trial lacks %s: %s", want, text)
		}
	}
	r.checkApart(a)
	if again := r.state(); len(again.Instances) != 1 || again.Instances[0].ID != shadow.Instances[0].ID {
		t.Errorf("the shadow itself is %+v", again)
	}
	if state, err := r.client.State(t.Context(), "shop.x-1"); err != nil || len(state.Instances) != 2 {
		t.Errorf("state of the trial's group %+v, %v", state, err)
	}
	if _, err := r.client.Scale(t.Context(), "shop.x-1", platform.Change{Instances: 50}); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("a trial was scaled: %v", err)
	}
	other := a
	other.Instances = 3
	if _, err := r.Try(t.Context(), "shop", other); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("another trial under the same name: %v", err)
	}
	for range 2 {
		if err := r.EndTrial(t.Context(), "shop", "x-1"); err != nil {
			t.Error(err)
		}
	}
	r.awaitEnd("x-1")
	r.Until("its pods to be gone", func() bool { return len(r.List("v1", "pods")) == 1 })
}

// checkApart looks whether what selects the shadow's pods by their labels would find the trial's.
func (r *trials) checkApart(a platform.Trial) {
	r.t.Helper()
	found := 0
	own := labels.SelectorFromSet(trialLabels(object{Kubernetes: r.client.groups["shop"]}, a.Name))
	pods := r.List("v1", "pods")
	for i := range pods {
		if !own.Matches(labels.Set(pods[i].GetLabels())) {
			continue
		}
		if found++; labels.SelectorFromSet(labels.Set{"app": "shop"}).Matches(labels.Set(pods[i].GetLabels())) {
			r.t.Errorf("a Service of the shadow would find %s by %v", pods[i].GetName(), pods[i].GetLabels())
		}
	}
	if found != a.Instances {
		r.t.Errorf("%d pods of the trial, want %d", found, a.Instances)
	}
}

func TestATrialGoesWithItsShadow(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	r.awaitTrial(ask("x", 1), ready(1))
	if r.Plane == nil {
		t.Skip("NOT TESTED on the stand-in: nothing collects garbage there; `make test-kubernetes` does")
	}
	r.Delete("apps/v1", "deployments", "shop")
	r.Until("the trial to be gone", func() bool { return len(r.deployments()) == 0 && len(r.List("v1", "pods")) == 0 })
}

// A runner that was killed renews nothing; another process, by its own clock, finds that out.
func TestATrialEndsWithItsLease(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	sweep := func(at time.Time) {
		t.Helper()
		r.now = func() time.Time { return at }
		if err := r.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	r.awaitTrial(ask("kept", 1), ready(1))
	r.begin(ask("left", 1))
	// The clock of the sweeper is an hour ahead of that of the runner, which changes nothing.
	ahead := begin.Add(time.Hour)
	sweep(ahead)
	sweep(ahead.Add(50 * time.Second))
	r.now = func() time.Time { return begin.Add(50 * time.Second) }
	r.begin(ask("kept", 1))
	sweep(ahead.Add(55 * time.Second))
	if n := len(r.deployments()); n != 2 {
		t.Fatalf("%d trials before any lease was over", n)
	}
	sweep(ahead.Add(61 * time.Second))
	r.awaitEnd("left")
	if s, err := r.client.State(t.Context(), "shop.kept"); err != nil || s.Desired != 1 {
		t.Errorf("the one that was renewed: %+v, %v", s, err)
	}
	sweep(ahead.Add(116 * time.Second))
	r.awaitEnd("kept")
	sweep(ahead.Add(2 * time.Minute))
	if len(r.seen) != 0 {
		t.Errorf("remembers %v", r.seen)
	}
}

// What a sweeper has read may be renewed before it acts upon it.
func TestARenewedTrialIsNotSwept(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	r.begin(ask("x", 1))
	before := r.deployments()[0]
	r.now = func() time.Time { return time.Now().Add(30 * time.Second) }
	r.begin(ask("x", 1))
	shadow, err := r.shadow(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.client.endTrial(t.Context(), shadow, &before, true); err == nil {
		t.Error("removed upon what was read before the renewal")
	}
	if s := r.begin(ask("x", 1)); s.Desired != 1 {
		t.Errorf("trial %+v", s)
	}
}

// Renewals come several times a second while a trial starts; few of them are written.
func TestAFreshLeaseIsNotWritten(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	r.awaitTrial(ask("x", 1), ready(1))
	renewed := func() string { return r.deployments()[0].GetAnnotations()[renewedAnnotation] }
	first := renewed()
	r.begin(ask("x", 1))
	if renewed() != first {
		t.Error("written again at once")
	}
	r.now = func() time.Time { return time.Now().Add(10 * time.Second) }
	r.begin(ask("x", 1))
	if renewed() == first {
		t.Error("not written after a sixth of the lease")
	}
}

func TestOneOfTwoBeginsATrial(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { _, errs[i] = r.Try(t.Context(), "shop", ask("x", 1)) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, platform.ErrConflict) {
			t.Error(err)
		}
	}
	if n := len(r.deployments()); n != 1 {
		t.Errorf("%d objects of one trial", n)
	}
}

func TestThereAreOnlySoManyTrials(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	var names []string
	for i := range trialSlots {
		r.begin(ask(fmt.Sprintf("x%d", i), 1))
		names = append(names, slotName(object{Kubernetes: workload.Kubernetes{Name: "shop"}}, i))
	}
	if _, err := r.Try(t.Context(), "shop", ask("more", 1)); !errors.Is(err, platform.ErrConflict) {
		t.Errorf("one more: %v", err)
	}
	for _, o := range r.deployments() {
		if !slices.Contains(names, o.GetName()) {
			t.Errorf("a trial is called %s, which no role names", o.GetName())
		}
	}
}

// The chart's roles name the objects that trials may have.
func TestTheChartKnowsTheNamesOfTrials(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("../../../deployments/tools/chart/testdata/shop.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range trialSlots {
		names = append(names, strconv.Quote(slotName(object{Kubernetes: workload.Kubernetes{Name: "web"}}, i)))
	}
	if want := "resourceNames: [" + strings.Join(names, ",") + "], verbs: [patch, delete]"; !strings.Contains(string(golden), want) {
		t.Errorf("the chart has no role with %s", want)
	}
}

// A quota that refuses the pods is told, and not a time that was waited in vain.
func TestAQuotaRefusesATrial(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	r.await("the shadow", ready(1))
	r.Create("v1", "resourcequotas", map[string]any{
		"kind": "ResourceQuota", "metadata": map[string]any{"name": "small"}, "spec": map[string]any{"hard": map[string]any{"pods": "2"}},
	})
	if r.Plane != nil {
		r.Until("the quota to hold", func() bool {
			used, _, _ := unstructured.NestedString(r.Find("v1", "resourcequotas", "small"), "status", "used", "pods")
			return used == "1"
		})
	}
	_, err := r.Try(t.Context(), "shop", ask("x", 2))
	if r.Fake != nil { // nothing enforces a quota there
		r.Patch("apps/v1", "deployments", r.deployments()[0].GetName(), map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": "ReplicaFailure", "status": "True", "message": `pods "x" is forbidden: exceeded quota: small`},
		}}})
	}
	r.Until("the refusal to be told", func() bool {
		_, err = r.Try(t.Context(), "shop", ask("x", 2))
		return err != nil
	})
	if !strings.Contains(err.Error(), "exceeded quota: small") || !strings.Contains(err.Error(), "of 2 instances were made") {
		t.Errorf("the refusal says %v", err)
	}
}

func TestUsageOfATrial(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	r := newRig(t, groupsOf(c.Workload(deployment, "shop", 1)), c).trials("production")
	s := r.awaitTrial(ask("x", 1), ready(1))
	pod := strings.Split(s.Instances[0].ID, "/")[0]
	r.Create("metrics.k8s.io/v1beta1", "pods", map[string]any{
		"metadata":  map[string]any{"name": pod, "labels": map[string]any{trialOfLabel: "shop", trialLabel: "x"}},
		"timestamp": time.Now().UTC().Format(time.RFC3339), "window": "15s",
		"containers": []any{map[string]any{"name": "web", "usage": map[string]any{"cpu": "150m", "memory": "32Mi"}}},
	})
	usage, err := r.client.Usage(t.Context(), platform.TrialGroup("shop", "x"))
	if err != nil || len(usage) != 1 || usage[0].Instance != s.Instances[0].ID || usage[0].MemoryBytes != 32<<20 {
		t.Errorf("usage %+v, %v", usage, err)
	}
}
