// Package kubernetes_test installs the chart into a real control plane: what the API server accepts, what Pod Security lets
// run, and what each service may do with the rights it is given.
package kubernetes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/shadowscaler"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestMain(m *testing.M) { kubernetestest.Main(m) }

const goldens = "../../deployments/tools/chart/testdata"

// namespace is the one that the goldens are rendered for.
const namespace = "foreshadow"

// installer makes objects of any kind.
type installer struct {
	t      *testing.T
	client dynamic.Interface
	mapper meta.RESTMapper
}

func newInstaller(t *testing.T, cfg *rest.Config) *installer {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &installer{t: t, client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}
}

// objects reads the documents of a file.
func objects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
}

// install makes an object; strictly, so that a key that the API server does not know is an error.
func (i *installer) install(o *unstructured.Unstructured, dryRun bool) error {
	gvk := o.GroupVersionKind()
	mapping, err := i.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	client := dynamic.ResourceInterface(i.client.Resource(mapping.Resource))
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		in := o.GetNamespace()
		if in == "" {
			in = namespace
		}
		client = i.client.Resource(mapping.Resource).Namespace(in)
	}
	_, err = client.Create(i.t.Context(), o, options)
	return err
}

// space makes a namespace that enforces Pod Security.
func (i *installer) space(name string) {
	i.t.Helper()
	err := i.install(kubernetestest.Object(map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}},
	}), false)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		i.t.Fatal(err)
	}
}

func TestEveryObjectOfTheChartIsAccepted(t *testing.T) {
	plane := kubernetestest.Start(t)
	i := newInstaller(t, plane.Config())
	for _, name := range []string{namespace, "shop", "shop-shadow", "blog", "blog-shadow"} {
		i.space(name)
	}
	if err := i.install(kubernetestest.Object(shadowscaler.Definition()), false); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(goldens + "/*.golden.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		accepted := 0
		for _, o := range objects(t, file) {
			if o.GetKind() == "ServiceMonitor" {
				continue // of the Prometheus operator, which is not installed there
			}
			if err := i.install(o, true); err != nil {
				t.Errorf("%s: %s %s: %v", filepath.Base(file), o.GetKind(), o.GetName(), err)
				continue
			}
			accepted++
		}
		t.Logf("%s: %d objects accepted", filepath.Base(file), accepted)
	}

	t.Run("runs", func(t *testing.T) { runs(t, i) })
	t.Run("rolls with one in reserve", func(t *testing.T) { rolls(t, plane, i) })
	t.Run("rights", func(t *testing.T) { rights(t, plane, i) })
}

// runs installs the chart for real and waits for the pods, which Pod Security has to let in.
func runs(t *testing.T, i *installer) {
	for _, o := range objects(t, goldens+"/shop.golden.yaml") {
		if err := i.install(o, false); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	want := map[string]string{}
	for _, o := range objects(t, goldens+"/shop.golden.yaml") {
		if o.GetKind() == "Deployment" {
			want[o.GetName()] = fmt.Sprint(o.Object["spec"].(map[string]any)["replicas"])
		}
	}
	deployments, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	t.Cleanup(func() { i.explain(deployments) })
	kubernetestest.Until(t, "all services to run", func() bool {
		list, err := i.client.Resource(deployments).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != len(want) {
			return false
		}
		for _, d := range list.Items {
			ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
			if fmt.Sprint(ready) != want[d.GetName()] {
				return false
			}
		}
		return true
	})
	t.Logf("%d services run under Pod Security restricted", len(want))
}

// explain says why Deployments do not run, when the test has failed.
func (i *installer) explain(deployments schema.GroupVersionResource) {
	if !i.t.Failed() {
		return
	}
	list, err := i.client.Resource(deployments).Namespace(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		i.t.Log(err)
		return
	}
	for _, d := range list.Items {
		status, _, _ := unstructured.NestedMap(d.Object, "status")
		i.t.Logf("%s: %v", d.GetName(), status)
	}
}

// rights does, as each service, what it has to and what it must not.
func rights(t *testing.T, plane *kubernetestest.ControlPlane, i *installer) {
	for _, name := range []string{"web", "other"} {
		if err := i.install(deployment("shop", name), false); err != nil {
			t.Fatal(err)
		}
	}
	groups := map[string]workload.Kubernetes{
		"shop": {Namespace: "shop", Name: "web", Port: 8080}, "other": {Namespace: "shop", Name: "other", Port: 8080},
		"shadow": {Namespace: "shop-shadow", Name: "web", Port: 8080, Copy: workload.Copy{Enabled: true}},
		"leads":  {Namespace: namespace, Name: "foreshadow-console", Port: 8090},
	}
	as := func(service string) *kubernetes.Client {
		cfg := plane.Config()
		cfg.Impersonate.UserName = "system:serviceaccount:" + namespace + ":foreshadow-" + service
		client, err := kubernetes.NewFor(cfg, kubernetes.DefaultConfig(), groups)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	provisioner := as("provisioner")
	kubernetestest.Until(t, "the shop to run", func() bool {
		s, err := provisioner.State(t.Context(), "shop")
		return err == nil && s.Ready() == 2
	})
	if _, err := provisioner.Surroundings(t.Context(), "shop"); err != nil {
		t.Errorf("the provisioner cannot look around: %v", err)
	}
	if err := provisioner.Fence(t.Context(), "shop", 1); err != nil {
		t.Errorf("the provisioner cannot fence: %v", err)
	}
	change := platform.Change{Instances: 2, Generation: 1, ObservedDesired: 2, Epoch: 1, Size: platform.Size{CPUCores: 0.05}}
	kubernetestest.Until(t, "the sizes to change", func() bool {
		s, err := provisioner.Scale(t.Context(), "shop", change)
		if err != nil {
			t.Fatalf("the provisioner cannot resize: %v", err)
		}
		return s.Size.CPUCores == 0.05
	})
	if err := provisioner.Fence(t.Context(), "shop", 2); err != nil {
		t.Errorf("the provisioner cannot take over: %v", err)
	}
	change = platform.Change{Instances: 1, Generation: 2, ObservedDesired: 2, Epoch: 2}
	if _, err := provisioner.Scale(t.Context(), "shop", change); err != nil {
		t.Errorf("the provisioner cannot scale: %v", err)
	}
	for range 2 {
		if err := provisioner.Copy(t.Context(), "shop", "shadow"); err != nil {
			t.Errorf("the provisioner cannot copy: %v", err)
		}
	}
	trialRights(t, as)
	if err := provisioner.RemoveCopy(t.Context(), "shadow"); err != nil {
		t.Errorf("the provisioner cannot remove a copy: %v", err)
	}
	document := kubernetes.NewDocument(provisioner, namespace, "foreshadow-provisioner-journal")
	for range 2 {
		if err := document.Save([]byte("{}")); err != nil {
			t.Errorf("the provisioner cannot keep its journal: %v", err)
		}
	}
	taken := errors.New("taken")
	lease := kubernetes.NewLease(provisioner, kubernetes.LeaseConfig{
		Namespace: namespace, Name: "foreshadow-provisioner", Identity: "test", Address: "10.0.0.1:7005", Duration: 2 * time.Second,
	}, slog.New(slog.DiscardHandler), func(kubernetes.LeaseView) {})
	for range 2 { // it is made, and taken once more
		err := lease.Run(t.Context(), func(context.Context, kubernetes.Leadership) error { return taken })
		if !errors.Is(err, taken) {
			t.Errorf("the provisioner cannot lead: %v", err)
		}
	}
	denied := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", what, err)
		}
	}
	for _, group := range []string{"other", "leads"} {
		_, err := provisioner.State(t.Context(), group)
		denied("the provisioner reads what it was not given, "+group, err)
	}
	denied("the provisioner writes another ConfigMap", overwrite(provisioner))
	for _, service := range []string{"replicator", "shadow-runner", "metrics-aggregator"} {
		client := as(service)
		s, err := client.State(t.Context(), "shop")
		if err != nil {
			t.Errorf("%s cannot read: %v", service, err)
		}
		_, err = client.Scale(t.Context(), "shop", platform.Change{Instances: 5, Generation: 9, ObservedDesired: s.Desired, Epoch: 9})
		denied(service+" scales", err)
	}
	for _, service := range []string{"predictor", "console"} {
		_, err := as(service).State(t.Context(), "shop")
		denied(service+" reads", err)
	}
}

// overwrite writes the configuration of the services, as somebody who has read it could.
func overwrite(client *kubernetes.Client) error {
	maps, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
	_, err := client.Dynamic().Resource(maps).Namespace(namespace).Update(context.Background(), kubernetestest.Object(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "foreshadow"},
	}), metav1.UpdateOptions{})
	return err
}

func deployment(in, name string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	return kubernetestest.Object(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": in},
		"spec": map[string]any{
			"replicas": 2, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
				"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
				"containers": []any{map[string]any{
					"name": "web", "image": "example.org/shop:1",
					"resources":       map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}},
					"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}},
				}},
			}},
		},
	})
}
