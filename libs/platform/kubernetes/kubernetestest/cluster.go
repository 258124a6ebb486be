package kubernetestest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Main runs the tests, stops the control plane if one was started, and looks for goroutines that are left. Call it from
// TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is the one global: TestMain has no way to hand anything to a test.
var shared sharedPlane

type sharedPlane struct {
	mu    sync.Mutex
	plane *ControlPlane
}

func (s *sharedPlane) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plane == nil {
		return nil
	}
	return s.plane.Stop()
}

// Shared returns the control plane of this test process, started when first asked for. Without a binary the test is skipped,
// loudly.
func Shared(t testing.TB) *ControlPlane {
	t.Helper()
	binary := os.Getenv(Variable)
	if binary == "" {
		t.Skipf("NOT TESTED on a real control plane: %s names none; `make test-kubernetes` builds it", Variable)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.plane == nil {
		plane, err := StartControlPlane(binary)
		if err != nil {
			t.Fatal(err)
		}
		shared.plane = plane
	}
	return shared.plane
}

// Start starts a control plane that ends with the test. Without a binary the test is skipped, loudly.
func Start(t testing.TB) *ControlPlane {
	t.Helper()
	binary := os.Getenv(Variable)
	if binary == "" {
		t.Skipf("NOT TESTED on a real control plane: %s names none; `make test-kubernetes` builds it", Variable)
	}
	plane, err := StartControlPlane(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

// Real says whether there is a real control plane.
func Real() bool { return os.Getenv(Variable) != "" }

// Cluster is an API server for one test, with a namespace of its own, behind Faults.
type Cluster struct {
	t         testing.TB
	Namespace string
	Faults    *Faults
	// Fake is nil on a real control plane, and Plane is nil on the stand-in.
	Fake  *Fake
	Plane *ControlPlane

	url     string
	objects dynamic.Interface
}

// New returns the real control plane when there is one, and the stand-in else.
func New(t testing.TB) *Cluster {
	t.Helper()
	if os.Getenv(Variable) == "" {
		return NewOnFake(t)
	}
	return NewOnPlane(t, Shared(t))
}

// NewOnFake returns the stand-in.
func NewOnFake(t testing.TB) *Cluster {
	t.Helper()
	fake := NewFake()
	c := &Cluster{t: t, Fake: fake, Namespace: "test", Faults: &Faults{next: fake}}
	c.serve()
	return c
}

// NewOnPlane returns a namespace of a control plane.
func NewOnPlane(t testing.TB, plane *ControlPlane) *Cluster {
	t.Helper()
	target, err := url.Parse(plane.Config().Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		// An API server that is away looks like one: the connection is cut.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	c := &Cluster{t: t, Plane: plane, Faults: &Faults{next: proxy}}
	c.serve()
	t.Cleanup(func() {
		if x, ok := transport.(interface{ CloseIdleConnections() }); ok {
			x.CloseIdleConnections()
		}
	})
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	c.Namespace = fmt.Sprintf("%.40s-%x", name, time.Now().UnixNano()&0xffffff)
	c.Create("v1", "namespaces", map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": c.Namespace}})
	c.Until("the default service account", func() bool { return c.Find("v1", "serviceaccounts", "default") != nil })
	return c
}

func (c *Cluster) serve() {
	c.t.Helper()
	server := httptest.NewUnstartedServer(c.Faults)
	server.Config.ErrorLog = discardLog()
	server.Start()
	c.url = server.URL
	c.t.Cleanup(server.Close)
	cfg := c.Config()
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.CloseIdleConnections)
	if c.objects, err = dynamic.NewForConfigAndClient(cfg, client); err != nil {
		c.t.Fatal(err)
	}
}

// Config reaches the API server through the faults.
func (c *Cluster) Config() *rest.Config { return &rest.Config{Host: c.url, QPS: 1000, Burst: 1000} }

// URL of the API server, through the faults; it asks for no credentials.
func (c *Cluster) URL() string { return c.url }

func (c *Cluster) resource(apiVersion, plural string) dynamic.ResourceInterface {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		c.t.Fatal(err)
	}
	r := c.objects.Resource(gv.WithResource(plural))
	switch plural {
	case "namespaces", "nodes", "customresourcedefinitions", "clusterroles", "clusterrolebindings":
		return r
	}
	return r.Namespace(c.Namespace)
}

// Create makes an object.
func (c *Cluster) Create(apiVersion, plural string, body map[string]any) map[string]any {
	c.t.Helper()
	body["apiVersion"] = apiVersion
	o, err := c.resource(apiVersion, plural).Create(c.t.Context(), plain(body), metav1.CreateOptions{})
	if err != nil {
		c.t.Fatalf("create %s: %v", plural, err)
	}
	return o.Object
}

// Apply makes an object that is shared by the tests, unless it is there.
func (c *Cluster) Apply(apiVersion, plural string, body map[string]any) {
	c.t.Helper()
	_, err := c.resource(apiVersion, plural).Create(c.t.Context(), Object(body), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatalf("create %s: %v", plural, err)
	}
}

// Object is a body as a client takes it.
func Object(body map[string]any) *unstructured.Unstructured { return plain(body) }

// plain makes every number and list one that JSON has.
func plain(body map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: clone(body)}
}

// Find returns an object, nil when there is none.
func (c *Cluster) Find(apiVersion, plural, name string) map[string]any {
	c.t.Helper()
	o, err := c.resource(apiVersion, plural).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return o.Object
}

// Serves says whether the API server knows a resource.
func (c *Cluster) Serves(apiVersion, plural string) bool {
	_, err := c.resource(apiVersion, plural).List(c.t.Context(), metav1.ListOptions{Limit: 1})
	return err == nil
}

// List returns all objects of a resource in the namespace.
func (c *Cluster) List(apiVersion, plural string) []unstructured.Unstructured {
	c.t.Helper()
	l, err := c.resource(apiVersion, plural).List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatalf("list %s: %v", plural, err)
	}
	return l.Items
}

// Patch merges into an object, or into one of its subresources.
func (c *Cluster) Patch(apiVersion, plural, name string, patch map[string]any, sub ...string) {
	c.t.Helper()
	data, err := json.Marshal(patch)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.resource(apiVersion, plural).Patch(c.t.Context(), name, types.MergePatchType, data, metav1.PatchOptions{}, sub...); err != nil {
		c.t.Fatalf("patch %s %s: %v", plural, name, err)
	}
}

// Delete removes an object.
func (c *Cluster) Delete(apiVersion, plural, name string) {
	c.t.Helper()
	if err := c.resource(apiVersion, plural).Delete(c.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatalf("delete %s %s: %v", plural, name, err)
	}
}

// Until asks again until the answer is yes.
func (c *Cluster) Until(what string, ask func() bool) {
	c.t.Helper()
	Until(c.t, what, ask)
}

// Until asks again until the answer is yes.
func Until(t testing.TB, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangTimeout)
	defer cancel()
	for !ask() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// hangTimeout bounds hangs; nothing waits for it when all is well.
const hangTimeout = time.Minute
