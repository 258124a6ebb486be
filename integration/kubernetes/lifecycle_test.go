package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/shadowscaler"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	scalers     = shadowscaler.Plural
	scalerAPI   = shadowscaler.Group + "/" + shadowscaler.Version
	definitions = "../../deployments/kubernetes/crds/shadowscalers.yaml"
	production  = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
)

// shop declares web, whose shadow is a copy in a namespace of its own.
func shop(namespace, shadow string) map[string]any {
	target := func(group, in string) map[string]any {
		return map[string]any{
			"platform": "kubernetes", "group": group, "kubernetes": map[string]any{"namespace": in, "name": "web", "port": 8080},
		}
	}
	spec := map[string]any{
		"slo":        map[string]any{"quantile": 0.95, "latency": "200ms", "errorRatio": 0.01},
		"production": target("shop", namespace), "shadow": target("shop-shadow", shadow),
		"instances": map[string]any{"min": 9, "max": 3}, // a mistake that no schema sees
		"policy": map[string]any{
			"interval": "1s", "startup": "1s", "scaleDownAfter": "2s", "history": "10m", "capacityHint": 50,
		},
		"guardrails": map[string]any{"mode": "automatic", "ratePeriod": "1s", "stabiliseDown": "1s", "verifyTimeout": "30s", "manualHold": "2s"},
	}
	spec["shadow"].(map[string]any)["kubernetes"].(map[string]any)["copy"] = map[string]any{"enabled": true}
	return map[string]any{"kind": shadowscaler.Kind, "metadata": map[string]any{"name": "shop"}, "spec": spec}
}

// TestLifeOfAShadowScaler is one from its making to its end, with nothing of ours running but the built binary: the embedded
// broker, the predictor, and the provisioner. Users are windows that the test publishes. The cluster is a real control plane
// where there is one, else the stand-in, which has no schemas and no tables.
func TestLifeOfAShadowScaler(t *testing.T) {
	t.Parallel()
	real := kubernetestest.Real()
	c := kubernetestest.New(t)
	i := newInstaller(t, c.Config())
	shadow := c.Namespace + "-shadow"
	if real {
		for _, o := range objects(t, definitions) {
			if err := i.install(o, false); err != nil {
				t.Fatal(err)
			}
		}
		i.space(shadow)
	}
	c.Workload("Deployment", "web", 2)
	p := newProcesses(t, c)
	p.start("predictor")
	p.start("provisioner")
	p.alive("provisioner", "waiting for a valid ShadowScaler")

	c.Until("the resource to be served", func() bool { return c.Serves(scalerAPI, scalers) })
	c.Create(scalerAPI, scalers, shop(c.Namespace, shadow))
	c.Until("the mistake to be named", func() bool { return strings.Contains(condition(c, "Valid"), "False: instances.max") })
	change(c, map[string]any{"instances": map[string]any{"min": 2, "max": 9}})
	c.Until("it to be worked with", func() bool {
		return condition(c, "Valid") == "True: the spec is a workload" && condition(c, "Loaded") == "True: the provisioner works with it"
	})
	p.users(func() int { return replicas(c) })

	t.Log("automatic")
	p.come(300)
	c.Until("more for more users", func() bool { return replicas(c) >= 6 })
	if real {
		c.Until("status and columns", p.columns)
	}
	c.Until("the shadow to be made", func() bool {
		return found(i, "Deployment", shadow, "web") && found(i, "NetworkPolicy", shadow, "web-wall")
	})
	away(t, c)
	p.come(80)
	c.Until("fewer for fewer users", func() bool { return replicas(c) < 6 })

	t.Log("dry run")
	p.mode("dry_run")
	before := replicas(c)
	p.come(350)
	p.recorded(foreshadowv1.Outcome_OUTCOME_DRY_RUN)
	if n := replicas(c); n != before {
		t.Errorf("%d replicas, %d before the dry run", n, before)
	}

	t.Log("approval")
	p.mode("approve")
	p.recorded(foreshadowv1.Outcome_OUTCOME_AWAITING_APPROVAL)
	if n := replicas(c); n != before {
		t.Errorf("%d replicas without approval, %d before", n, before)
	}
	p.approve()
	c.Until("what was approved", func() bool { return replicas(c) > before })

	t.Log("pause")
	p.mode("automatic")
	p.call("pause", func(s foreshadowv1.ProvisioningServiceClient) error {
		_, err := s.PauseProvisioning(t.Context(), &foreshadowv1.PauseProvisioningRequest{Workload: "shop", Actor: "ann", Reason: "release"})
		return err
	})
	before = replicas(c)
	p.come(100)
	p.recorded(foreshadowv1.Outcome_OUTCOME_REFUSED)
	p.kill("provisioner")
	p.call("to be paused still", func(s foreshadowv1.ProvisioningServiceClient) error {
		r, err := s.GetProvisioningStatus(t.Context(), &foreshadowv1.GetProvisioningStatusRequest{Workload: "shop"})
		if err == nil && (!r.GetStatus().GetPaused() || r.GetStatus().GetPauseActor() != "ann") {
			t.Errorf("after a restart %v", r)
		}
		return err
	})
	if n := replicas(c); n != before {
		t.Errorf("%d replicas, %d before the pause", n, before)
	}
	p.call("resume", func(s foreshadowv1.ProvisioningServiceClient) error {
		_, err := s.ResumeProvisioning(t.Context(), &foreshadowv1.ResumeProvisioningRequest{Workload: "shop", Actor: "ann"})
		return err
	})
	c.Until("it to go on", func() bool { return replicas(c) < before })

	t.Log("end")
	c.Delete(scalerAPI, scalers, "shop")
	c.Until("object and shadow to be gone", func() bool {
		return c.Find(scalerAPI, scalers, "shop") == nil && !found(i, "Deployment", shadow, "web") && !found(i, "NetworkPolicy", shadow, "web-wall")
	})
	p.alive("provisioner", "waiting for a valid ShadowScaler")
	last := replicas(c)
	p.come(400)
	for range 3 { // as many decisions as would have been made
		time.Sleep(time.Second)
	}
	if n := replicas(c); n != last || n == 0 {
		t.Errorf("%d replicas, %d when the ShadowScaler went", n, last)
	}
}

func change(c *kubernetestest.Cluster, spec map[string]any) {
	c.Patch(scalerAPI, scalers, "shop", map[string]any{"spec": spec})
}

// condition is the status and the message of one, when it is about the present generation.
func condition(c *kubernetestest.Cluster, kind string) string {
	o := c.Find(scalerAPI, scalers, "shop")
	list, _, _ := unstructured.NestedSlice(o, "status", "conditions")
	for _, e := range list {
		m := e.(map[string]any)
		if m["type"] == kind && fmt.Sprint(m["observedGeneration"]) == fmt.Sprint(o["metadata"].(map[string]any)["generation"]) {
			return fmt.Sprint(m["status"], ": ", m["message"])
		}
	}
	return ""
}

func replicas(c *kubernetestest.Cluster) int {
	n, _, _ := unstructured.NestedInt64(c.Find("apps/v1", "deployments", "web"), "spec", "replicas")
	return int(n)
}

func found(i *installer, kind, namespace, name string) bool {
	apiVersion := map[string]string{"Deployment": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1"}[kind]
	o := kubernetestest.Object(map[string]any{"apiVersion": apiVersion, "kind": kind})
	mapping, err := i.mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if err != nil {
		i.t.Fatal(err)
	}
	_, err = i.client.Resource(mapping.Resource).Namespace(namespace).Get(i.t.Context(), name, metav1.GetOptions{})
	return err == nil
}

// columns says whether `kubectl get` would show what is going on, which it asks for as a table.
func (p *processes) columns() bool {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.cluster.URL()+"/apis/"+scalerAPI+"/namespaces/"+p.cluster.Namespace+"/"+scalers, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	var table metav1.Table
	if err != nil || json.Unmarshal(data, &table) != nil || len(table.Rows) != 1 {
		return false
	}
	cells := map[string]string{}
	for i, column := range table.ColumnDefinitions {
		cells[column.Name] = fmt.Sprint(table.Rows[0].Cells[i])
	}
	for _, name := range []string{"Name", "Mode", "Desired", "Ready", "Recommended", "Valid", "Reason", "Age"} {
		if _, shown := cells[name]; !shown {
			p.t.Fatalf("no column %s in %v", name, cells)
		}
	}
	n := fmt.Sprint(replicas(p.cluster))
	if cells["Desired"] != n || cells["Ready"] != n || cells["Recommended"] == "<nil>" || cells["Reason"] == "<nil>" || cells["Valid"] != "True" {
		return false
	}
	p.t.Logf("kubectl get shadowscalers -o wide: %v", cells)
	return true
}

// mode changes how far the provisioner goes by itself, and returns when it works with that.
func (p *processes) mode(mode string) {
	p.t.Helper()
	change(p.cluster, map[string]any{"guardrails": map[string]any{"mode": mode}})
	p.cluster.Until(mode+" to be worked with", func() bool { return strings.HasPrefix(condition(p.cluster, "Loaded"), "True") })
	p.since = time.Now()
}

// recorded waits for a record of production of the present mode, among the events that the provisioner publishes.
func (p *processes) recorded(o foreshadowv1.Outcome) {
	p.t.Helper()
	p.cluster.Until(o.String(), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.ContainsFunc(p.actions, func(a *foreshadowv1.ScalingApplied) bool {
			return a.GetEnvironment() == production && a.GetOutcome() == o && a.GetCreateTime().AsTime().After(p.since)
		})
	})
}

// approve approves what waits, which may have been overtaken by the next.
func (p *processes) approve() {
	p.t.Helper()
	p.call("approval", func(s foreshadowv1.ProvisioningServiceClient) error {
		r, err := s.GetProvisioningStatus(p.t.Context(), &foreshadowv1.GetProvisioningStatusRequest{Workload: "shop"})
		if err != nil || len(r.GetStatus().GetAwaitingRecommendationIds()) == 0 {
			return status.Errorf(codes.Unavailable, "nothing waits: %v", err)
		}
		_, err = s.ApproveRecommendation(p.t.Context(), &foreshadowv1.ApproveRecommendationRequest{
			Workload: "shop", Actor: "ann", RecommendationId: r.GetStatus().GetAwaitingRecommendationIds()[0],
		})
		return err
	})
}

// away cuts the API server off for a while. Both services together ask it no more than each once a second.
func away(t *testing.T, c *kubernetestest.Cluster) {
	t.Helper()
	const cut = 10 * time.Second
	c.Faults.Inject(func(r *http.Request) int {
		if r.UserAgent() == "foreshadow" {
			return kubernetestest.Sever
		}
		return 0
	})
	c.Faults.Requests()
	time.Sleep(cut)
	asked := 0
	for _, q := range c.Faults.Requests() {
		if q.Status == kubernetestest.Sever {
			asked++
		}
	}
	c.Faults.Inject(nil)
	t.Logf("two services asked an API server that was away %d times in %s", asked, cut)
	if asked < 2 || float64(asked) > 2.4*cut.Seconds() {
		t.Errorf("%d requests in %s", asked, cut)
	}
}
