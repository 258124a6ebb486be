package shadowscaler

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// copied declares a shop whose shadow is a copy in a namespace of its own, which it makes.
func (f *fixture) copied(name string) map[string]any {
	f.t.Helper()
	f.Workload("Deployment", name, 1)
	space := f.Namespace + "-shadow"
	if kubernetestest.Real() { // the stand-in has every namespace
		f.Apply("v1", "namespaces", map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": space}})
	}
	s := spec(f.Namespace)
	s["production"].(map[string]any)["kubernetes"].(map[string]any)["name"] = name
	s["shadow"].(map[string]any)["kubernetes"] = map[string]any{
		"namespace": space, "name": name, "port": 8080, "copy": map[string]any{"enabled": true},
	}
	return s
}

// made says whether the copy of a name is there, and its walls.
func (f *fixture) made(name string) bool {
	n := 0
	for resource, object := range map[schema.GroupVersionResource]string{
		{Group: "apps", Version: "v1", Resource: "deployments"}:                  name,
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}: name + "-wall",
	} {
		if _, err := f.client.Resource(resource).Namespace(f.Namespace+"-shadow").Get(f.t.Context(), object, metav1.GetOptions{}); err == nil {
			n++
		}
	}
	return n == 2
}

func (f *fixture) scaler(name string) Scaler {
	f.t.Helper()
	list, err := f.objects.List(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	f.t.Fatalf("there is no ShadowScaler %s", name)
	return Scaler{}
}

// TestDeletedStaysUntilItsShadowIsGone: by the one who works with it, and by one who has nothing else to do.
func TestDeletedStaysUntilItsShadowIsGone(t *testing.T) {
	t.Parallel()
	for name, letGo := range map[string]func(*fixture) error{
		"reporter": func(f *fixture) error {
			return NewReporter(f.objects, states{}, nil, slog.New(slog.DiscardHandler)).report(f.t.Context(), time.Now())
		},
		"waiting": func(f *fixture) error { return f.objects.Attend(f.t.Context(), time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if err := f.create("shop", f.copied("shop")); err != nil {
				t.Fatal(err)
			}
			for range 2 { // holding it again changes nothing
				if err := f.objects.Hold(t.Context(), f.scaler("shop")); err != nil {
					t.Fatal(err)
				}
			}
			if err := letGo(f); err != nil {
				t.Fatal(err)
			}
			loaded, _, err := f.objects.Load(t.Context())
			if err != nil || len(loaded) != 1 {
				t.Fatalf("loaded %v, %v", loaded, err)
			}
			groups := map[string]workload.Kubernetes{"web": loaded[0].Production.Kubernetes, "web-shadow": loaded[0].Shadow.Kubernetes}
			if err := f.objects.platform.For(groups).Copy(t.Context(), "web", "web-shadow"); err != nil {
				t.Fatal(err)
			}
			if !f.made("shop") {
				t.Fatal("no copy was made")
			}
			f.Delete(Group+"/"+Version, Plural, "shop")
			if !f.scaler("shop").Going {
				t.Error("it went before its shadow did")
			}
			if w, _, err := f.objects.Load(t.Context()); err != nil || len(w) != 0 {
				t.Errorf("one that was deleted still declares %v, %v", w, err)
			}
			if err := f.objects.Hold(t.Context(), f.scaler("shop")); err != nil {
				t.Errorf("hold one that goes: %v", err)
			}
			if err := letGo(f); err != nil {
				t.Fatal(err)
			}
			f.Until("object and shadow to be gone", func() bool {
				return f.Find(Group+"/"+Version, Plural, "shop") == nil && !f.made("shop")
			})
			if f.Find("apps/v1", "deployments", "shop") == nil {
				t.Error("production is gone, too")
			}
		})
	}
}

func TestWhatIsNoCopyHoldsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.create("shop", f.copied("shop")); err != nil {
		t.Fatal(err)
	}
	if err := f.objects.Hold(t.Context(), f.scaler("shop")); err != nil {
		t.Fatal(err)
	}
	// Somebody's own stands where the copy would.
	body := kubernetestest.Object(f.Find("apps/v1", "deployments", "shop"))
	body.SetNamespace(f.Namespace + "-shadow")
	body.SetResourceVersion("")
	body.SetUID("")
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	if _, err := f.client.Resource(deployments).Namespace(f.Namespace+"-shadow").Create(t.Context(), body, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.Delete(Group+"/"+Version, Plural, "shop")
	if err := f.objects.Attend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if f.Find(Group+"/"+Version, Plural, "shop") != nil {
		t.Error("it is held")
	}
	if _, err := f.client.Resource(deployments).Namespace(f.Namespace+"-shadow").Get(t.Context(), "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("somebody's own was removed: %v", err)
	}
}

// copy makes the copy that is declared now, as the provisioner does.
func (f *fixture) copy(name string) {
	f.t.Helper()
	if err := f.objects.Hold(f.t.Context(), f.scaler(name)); err != nil {
		f.t.Fatal(err)
	}
	w := f.scaler(name).Workload
	groups := map[string]workload.Kubernetes{"web": w.Production.Kubernetes, "web-shadow": w.Shadow.Kubernetes}
	if err := f.objects.platform.For(groups).Copy(f.t.Context(), "web", "web-shadow"); err != nil {
		f.t.Fatal(err)
	}
}

// rename has the shadow of an object be called otherwise.
func (f *fixture) rename(name, shadow string) {
	f.t.Helper()
	f.Patch(Group+"/"+Version, Plural, name, map[string]any{"spec": map[string]any{"shadow": map[string]any{"kubernetes": map[string]any{"name": shadow}}}})
}

func TestACopyUnderAnOldNameIsRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.create("shop", f.copied("shop")); err != nil {
		t.Fatal(err)
	}
	f.copy("shop")
	f.rename("shop", "renamed")
	// Nobody lets it be removed.
	f.Faults.Inject(func(r *http.Request) int {
		if r.Method == http.MethodDelete {
			return http.StatusForbidden
		}
		return 0
	})
	f.copy("shop")
	if !f.made("shop") || !f.made("renamed") {
		t.Error("one that cannot be removed keeps the new one from being made")
	}
	if err := f.objects.Attend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := f.condition("shop", "ShadowLeft"); !strings.Contains(got, f.Namespace+"-shadow/shop") {
		t.Errorf("the status says %q", got)
	}
	f.Faults.Inject(nil)
	f.copy("shop")
	f.Until("the old one to be gone", func() bool { return !f.made("shop") })
	if err := f.objects.Attend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := f.condition("shop", "ShadowLeft"); got != "" || !f.made("renamed") {
		t.Errorf("the status says %q, the new one is there: %v", got, f.made("renamed"))
	}
	// One that cannot be read any more leaves nothing behind either.
	f.rename("shop", "no/name")
	f.Delete(Group+"/"+Version, Plural, "shop")
	if err := f.objects.Attend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	f.Until("object and shadow to be gone", func() bool {
		return f.Find(Group+"/"+Version, Plural, "shop") == nil && !f.made("renamed")
	})
}

// Two objects may have swapped names: what is one's by now is not removed as the other's old one.
func TestACopyThatIsAnothersNowStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.create("shop", f.copied("shop")); err != nil {
		t.Fatal(err)
	}
	f.copy("shop")
	f.rename("shop", "renamed")
	other := f.copied("other")
	other["shadow"].(map[string]any)["kubernetes"].(map[string]any)["name"] = "shop"
	other["shadow"].(map[string]any)["group"] = "other-shadow"
	if err := f.create("other", other); err != nil {
		t.Fatal(err)
	}
	f.copy("shop")
	if !f.made("shop") || len(f.scaler("shop").left()) != 0 {
		t.Errorf("left %v, the other's is there: %v", f.scaler("shop").left(), f.made("shop"))
	}
}

func TestAttendSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	faulty := spec(f.Namespace)
	faulty["instances"] = map[string]any{"min": 9, "max": 3}
	if err := f.create("shop", faulty); err != nil {
		t.Fatal(err)
	}
	if err := f.objects.Attend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := f.condition("shop", "Valid"); !strings.Contains(got, "instances.max") {
		t.Errorf("condition %q", got)
	}
}
