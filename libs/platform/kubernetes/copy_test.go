package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// secretive has production refer to secrets, disks and an identity.
func secretive(o map[string]any) {
	spec := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	spec["imagePullSecrets"] = []any{map[string]any{"name": "registry"}}
	spec["volumes"] = []any{
		map[string]any{"name": "keys", "secret": map[string]any{"secretName": "payment-keys"}},
		map[string]any{"name": "disk", "hostPath": map[string]any{"path": "/var/lib/shop"}},
		map[string]any{"name": "scratch", "emptyDir": map[string]any{}},
	}
	spec["containers"].([]any)[0].(map[string]any)["env"] = []any{
		map[string]any{"name": "DATABASE", "value": "production"}, map[string]any{"name": "MODE", "value": "fast"},
		map[string]any{"name": "PASSWORD", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "database", "key": "password"}}},
		map[string]any{"name": "TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "payment", "key": "token"}}},
	}
	spec["containers"].([]any)[0].(map[string]any)["envFrom"] = []any{map[string]any{"secretRef": map[string]any{"name": "everything"}}}
	spec["containers"].([]any)[0].(map[string]any)["volumeMounts"] = []any{
		map[string]any{"name": "keys", "mountPath": "/keys"}, map[string]any{"name": "disk", "mountPath": "/disk"},
		map[string]any{"name": "scratch", "mountPath": "/tmp"},
	}
}

// newCopyRig has production and the name of a shadow beside it. That they are in one namespace here is for the test's
// convenience; the configuration refuses it.
func newCopyRig(t *testing.T) *rig {
	t.Helper()
	c := kubernetestest.New(t)
	production := c.Workload(deployment, "web", 2, secretive)
	shadow := workload.Kubernetes{Namespace: c.Namespace, Name: "web-shadow", Port: 8080, Copy: workload.Copy{
		Enabled: true, Env: map[string]string{"DATABASE": "shadow", "EXTRA": "1"}, Secrets: map[string]string{"database": "shadow-database"},
		AllowEgress: []string{"10.9.0.7/24"}, AllowFrom: []string{"foreshadow"},
	}}
	return newRig(t, map[string]workload.Kubernetes{"web": production, "shop": shadow}, c)
}

func TestCopyIsIsolated(t *testing.T) {
	t.Parallel()
	r := newCopyRig(t)
	if err := r.client.Copy(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}
	if s := r.state(); s.Desired != 0 {
		t.Errorf("it is not asleep: %+v", s)
	}
	o := r.Find("apps/v1", "deployments", "web-shadow")
	template, err := json.Marshal(o["spec"].(map[string]any)["template"])
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"payment", "everything", "registry", `"database"`, "hostPath", `"app"`, "production", "/keys"} {
		if strings.Contains(string(template), secret) {
			t.Errorf("the copy has %s of production: %s", secret, template)
		}
	}
	for _, want := range []string{"example.org/shop:1", `"cpu":"100m"`, "shadow-database", `"value":"shadow"`, `"value":"fast"`, "EXTRA", "/tmp", `"automountServiceAccountToken":false`} {
		if !strings.Contains(string(template), want) {
			t.Errorf("the copy lacks %s: %s", want, template)
		}
	}
	for name, own := range map[string]string{"web-shadow-wall": copyLabel, "web-shadow-trials-wall": trialOfLabel} {
		wall, err := json.Marshal(r.Find("networking.k8s.io/v1", "networkpolicies", name)["spec"])
		if err != nil {
			t.Fatal(err)
		}
		podSelector := `"podSelector":{"matchLabels":{"` + own + `":"web-shadow"}}`
		for _, want := range []string{`"policyTypes":["Ingress","Egress"]`, `"cidr":"10.9.0.0/24"`, `"kubernetes.io/metadata.name":"foreshadow"`, podSelector + `,"policyTypes"`} {
			if !strings.Contains(string(wall), want) {
				t.Errorf("%s lacks %s: %s", name, want, wall)
			}
		}
	}
	r.scale(platform.Change{Instances: 1, Generation: 1})
	r.await("it to wake", ready(1))
}

func TestCopyFollowsProductionAndGoesOnRequest(t *testing.T) {
	t.Parallel()
	r := newCopyRig(t)
	for range 2 { // the second finds nothing to do
		if err := r.client.Copy(t.Context(), "web", "shop"); err != nil {
			t.Fatal(err)
		}
	}
	r.scale(platform.Change{Instances: 1, Generation: 1})
	before := r.Find("apps/v1", "deployments", "web-shadow")["metadata"].(map[string]any)["generation"]
	for range 3 {
		if err := r.client.Copy(t.Context(), "web", "shop"); err != nil {
			t.Fatal(err)
		}
	}
	if after := r.Find("apps/v1", "deployments", "web-shadow")["metadata"].(map[string]any)["generation"]; after != before {
		t.Errorf("a copy that is like production was changed from generation %v to %v", before, after)
	}
	r.Patch("apps/v1", "deployments", "web", map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"terminationGracePeriodSeconds": 7}}}})
	if err := r.client.Copy(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}
	spec := r.Find("apps/v1", "deployments", "web-shadow")["spec"].(map[string]any)
	if text, _ := json.Marshal(spec["template"]); !strings.Contains(string(text), `"terminationGracePeriodSeconds":7`) {
		t.Errorf("the copy is %s", text)
	}
	if s := r.state(); s.Desired != 1 || s.Generation != 1 || s.Foreign {
		t.Errorf("its size was changed: %+v", s)
	}
	for range 2 {
		if err := r.client.RemoveCopy(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
	}
	r.Until("it to be gone", func() bool {
		return r.Find("apps/v1", "deployments", "web-shadow") == nil && len(r.List("networking.k8s.io/v1", "networkpolicies")) == 0
	})
}

func TestWhatIsNoCopyIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newCopyRig(t)
	r.Workload(deployment, "web-shadow", 1)
	if err := r.client.Copy(t.Context(), "web", "shop"); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("copied over it: %v", err)
	}
	if err := r.client.RemoveCopy(t.Context(), "shop"); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("removed it: %v", err)
	}
	if r.Find("apps/v1", "deployments", "web-shadow") == nil {
		t.Error("it is gone")
	}
}
