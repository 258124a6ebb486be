package shadowscaler

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestMain(m *testing.M) { kubernetestest.Main(m) }

var update = flag.Bool("update", false, "rewrite the definition in the chart")

const definitionFile = "../../../../deployments/kubernetes/crds/shadowscalers.yaml"

func TestDefinitionInTheChartIsMadeFromTheWorkload(t *testing.T) {
	t.Parallel()
	data, err := yaml.Marshal(Definition())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(definitionFile, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(definitionFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != string(want) {
		t.Errorf("%s is not what the workload has; go test -update rewrites it", definitionFile)
	}
}

// spec declares a shop in a namespace.
func spec(namespace string) map[string]any {
	target := func(name string) map[string]any {
		return map[string]any{
			"platform": "kubernetes", "group": name, "cpuCores": 0.5,
			"kubernetes": map[string]any{"namespace": namespace, "name": name, "port": 8080, "apiVersion": "apps/v1"},
		}
	}
	return map[string]any{
		"slo":        map[string]any{"quantile": 0.95, "latency": "200ms", "errorRatio": 0.01},
		"production": target("web"), "shadow": target("web-shadow"),
		"instances": map[string]any{"min": 2, "max": 20},
		"guardrails": map[string]any{
			"mode": "automatic", "maxStepDown": 2, "manualHold": "5m",
			"scaleUp":     map[string]any{"policies": []any{map[string]any{"type": "percent", "value": 50, "period": "1m"}}},
			"maintenance": []any{map[string]any{"days": []any{"sun"}, "from": "02:00", "to": "04:00"}},
		},
	}
}

func TestSpecIsReadAsTheFileIs(t *testing.T) {
	t.Parallel()
	got, err := Decode("shop", spec("shop"))
	if err != nil {
		t.Fatal(err)
	}
	want := workload.Default()
	file := `
name: shop
slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
production: {platform: kubernetes, group: web, cpu_cores: 0.5, kubernetes: {namespace: shop, name: web, port: 8080, api_version: apps/v1}}
shadow: {platform: kubernetes, group: web-shadow, cpu_cores: 0.5, kubernetes: {namespace: shop, name: web-shadow, port: 8080, api_version: apps/v1}}
instances: {min: 2, max: 20}
guardrails:
  mode: automatic
  max_step_down: 2
  manual_hold: 5m
  scale_up: {policies: [{type: percent, value: 50, period: 1m}]}
  maintenance: [{days: [sun], from: "02:00", to: "04:00"}]
`
	if err := yaml.Unmarshal([]byte(file), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfASpecAreNamed(t *testing.T) {
	t.Parallel()
	unknown := spec("shop")
	unknown["guardrails"].(map[string]any)["speed"] = 1
	local := spec("shop")
	local["production"].(map[string]any)["platform"] = "local"
	low := spec("shop")
	low["instances"] = map[string]any{"min": 5, "max": 1}
	for want, s := range map[string]map[string]any{".guardrails.speed": unknown, "want kubernetes": local, "instances.max": low} {
		if _, err := Decode("shop", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s named", err, want)
		}
	}
}

// fixture is the ShadowScalers of a namespace.
type fixture struct {
	*kubernetestest.Cluster
	t       *testing.T
	objects *Objects
	client  dynamic.Interface
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	c := kubernetestest.New(t)
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	if kubernetestest.Real() {
		c.Apply("apiextensions.k8s.io/v1", "customresourcedefinitions", Definition())
		c.Until("the resource to be served", func() bool {
			_, err := client.Resource(resource).Namespace(c.Namespace).List(t.Context(), metav1.ListOptions{})
			return err == nil
		})
	}
	platform, err := kubernetes.NewFor(c.Config(), kubernetes.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(platform.Close)
	return &fixture{Cluster: c, t: t, client: client, objects: New(platform, c.Namespace)}
}

func (f *fixture) create(name string, spec map[string]any) error {
	o := kubernetestest.Object(map[string]any{
		"apiVersion": Group + "/" + Version, "kind": Kind, "metadata": map[string]any{"name": name}, "spec": spec,
	})
	_, err := f.client.Resource(resource).Namespace(f.Namespace).Create(f.t.Context(), o, metav1.CreateOptions{})
	return err
}

// condition is one of an object: its status and message.
func (f *fixture) condition(name, kind string) string {
	o := f.Find(Group+"/"+Version, Plural, name)
	list, _, _ := unstructured.NestedSlice(o, "status", "conditions")
	for _, c := range list {
		if m := c.(map[string]any); m["type"] == kind {
			return fmt.Sprint(m["status"], ": ", m["message"])
		}
	}
	return ""
}

// states is a platform.
type states struct{}

func (states) State(context.Context, string) (platform.State, error) {
	return platform.State{Desired: 4, Instances: []platform.Instance{{Phase: platform.Ready}, {Phase: platform.Starting}}}, nil
}

// TestLifecycle declares, corrects, changes and removes a workload.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if kubernetestest.Real() {
		for name, breakIt := range map[string]func(map[string]any){
			"wrong type":   func(s map[string]any) { s["instances"] = "many" },
			"wrong mode":   func(s map[string]any) { s["guardrails"] = map[string]any{"mode": "yolo"} },
			"no SLO":       func(s map[string]any) { delete(s, "slo") },
			"no duration":  func(s map[string]any) { s["slo"] = map[string]any{"latency": "soon"} },
			"below zero":   func(s map[string]any) { s["instances"] = map[string]any{"min": -1} },
			"not in reach": func(s map[string]any) { s["production"] = map[string]any{"platform": "local"} },
		} {
			s := spec(f.Namespace)
			breakIt(s)
			if err := f.create("broken", s); err == nil || !strings.Contains(err.Error(), "spec.") {
				t.Errorf("%s: %v, want the API server to refuse it", name, err)
			}
		}
	}
	faulty := spec(f.Namespace)
	faulty["instances"] = map[string]any{"min": 9, "max": 3} // no schema can tell
	if err := f.create("shop", faulty); err != nil {
		t.Fatal(err)
	}
	if w, _, err := f.objects.Load(t.Context()); err != nil || len(w) != 0 {
		t.Fatalf("loaded %v, %v", w, err)
	}
	report := func(loaded []workload.Workload) *Reporter {
		r := NewReporter(f.objects, states{}, loaded, slog.New(slog.DiscardHandler))
		r.Offer("shop", Recommendation{ID: "r-1", Policy: "predictive", Reason: "demand rises", Instances: 6, ExpireTime: time.Now()})
		if err := r.report(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	report(nil)
	if got := f.condition("shop", "Valid"); !strings.HasPrefix(got, "False: ") || !strings.Contains(got, "instances.max") {
		t.Errorf("condition %q", got)
	}

	f.Patch(Group+"/"+Version, Plural, "shop", map[string]any{"spec": map[string]any{"instances": map[string]any{"min": 2, "max": 9}}})
	loaded, fingerprint, err := f.objects.Load(t.Context())
	if err != nil || len(loaded) != 1 || loaded[0].Name != "shop" || loaded[0].Instances.Max != 9 {
		t.Fatalf("loaded %+v, %v", loaded, err)
	}
	r := report(loaded)
	status := f.Find(Group+"/"+Version, Plural, "shop")["status"].(map[string]any)
	if f.condition("shop", "Valid") != "True: the spec is a workload" || f.condition("shop", "Loaded") != "True: the provisioner works with it" {
		t.Errorf("status %v", status)
	}
	if rec := status["recommendation"].(map[string]any); fmt.Sprint(rec["instances"], rec["reason"]) != "6demand rises" || fmt.Sprint(status["desired"], status["ready"]) != "4 1" {
		t.Errorf("status %v", status)
	}
	// The same again writes nothing; the words of a recommendation only now and then.
	version := f.Find(Group+"/"+Version, Plural, "shop")["metadata"].(map[string]any)["resourceVersion"]
	r.Offer("shop", Recommendation{ID: "r-2", Policy: "predictive", Reason: "demand rises still", Instances: 6})
	for range 2 {
		if err := r.report(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	writes := 0
	for _, q := range f.Faults.Requests() {
		if strings.HasSuffix(q.Path, "/status") {
			writes++
		}
	}
	if writes > 3 {
		t.Errorf("%d writes of the status, the last version %v", writes, version)
	}

	// A change ends the services, which are started with it.
	changed := make(chan error, 1)
	go func() { changed <- f.objects.Changed(t.Context(), fingerprint) }()
	f.Patch(Group+"/"+Version, Plural, "shop", map[string]any{"spec": map[string]any{"instances": map[string]any{"max": 12}}})
	if err := <-changed; !errors.Is(err, ErrChanged) {
		t.Errorf("changed: %v", err)
	}
	report(loaded)
	if got := f.condition("shop", "Loaded"); !strings.HasPrefix(got, "False") {
		t.Errorf("condition %q, want it not loaded yet", got)
	}

	if err := f.create("twin", spec(f.Namespace)); err != nil {
		t.Fatal(err)
	}
	report(loaded)
	if got := f.condition("twin", "Valid"); !strings.Contains(got, `is scaled by ShadowScaler "shop" already`) {
		t.Errorf("condition %q", got)
	}
	f.Delete(Group+"/"+Version, Plural, "shop")
	if w, _, err := f.objects.Load(t.Context()); err != nil || len(w) != 1 || w[0].Name != "twin" {
		t.Errorf("loaded %v, %v", w, err)
	}
}
