package kubernetes

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func TestTrialsThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind       string
		adjust     func(map[string]any)
		production string // namespace; empty: the shadow's own
		group      string
		ask        platform.Trial
		is         error
		says       string
	}{
		"beside production":          {kind: deployment, group: "shop", ask: ask("x", 1), is: platform.ErrUnsupported, says: "is production's"},
		"of a StatefulSet":           {kind: statefulSet, production: "p", group: "shop", ask: ask("x", 1), is: platform.ErrUnsupported, says: "of a Deployment only"},
		"of production":              {kind: deployment, production: "p", group: "web", ask: ask("x", 1), is: platform.ErrNotFound, says: "web"},
		"of nobody":                  {kind: deployment, production: "p", group: "nobody", ask: ask("x", 1), is: platform.ErrNotFound, says: "nobody"},
		"without a name":             {kind: deployment, production: "p", group: "shop", ask: ask("", 1), says: "name: want"},
		"with too many instances":    {kind: deployment, production: "p", group: "shop", ask: ask("x", maxTrialInstances+1), says: "instances: want"},
		"on the network of its node": {kind: deployment, adjust: onHostNetwork, production: "p", group: "shop", ask: ask("x", 1), is: platform.ErrUnsupported, says: "network of their node"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adjust := func(map[string]any) {}
			if tc.adjust != nil {
				adjust = tc.adjust
			}
			r := shop(t, tc.kind, 1, adjust)
			production := tc.production
			if production == "" {
				production = r.Namespace
			}
			rt := r.trials(production)
			_, err := rt.Try(t.Context(), tc.group, tc.ask)
			if err == nil || !strings.Contains(err.Error(), tc.says) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v, want it to say %q", err, tc.says)
			}
			if n := len(rt.deployments()); n != 0 {
				t.Errorf("%d trials run all the same", n)
			}
		})
	}
}

func onHostNetwork(o map[string]any) {
	o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["hostNetwork"] = true
}

// policy is a wall around pods of a label.
func policy(name, label, value string) map[string]any {
	return map[string]any{
		"kind": "NetworkPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"podSelector": map[string]any{"matchLabels": map[string]any{label: value}}, "policyTypes": []any{"Egress"}},
	}
}

// The pods of a trial have other labels than the shadow's, whose walls may not bound them.
func TestATrialIsNotLetOutOfTheShadowsWalls(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	r.Create("networking.k8s.io/v1", "networkpolicies", policy("of-others", "app", "somebody"))
	r.Create("networking.k8s.io/v1", "networkpolicies", map[string]any{
		"kind": "NetworkPolicy", "metadata": map[string]any{"name": "of-all"}, "spec": map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}},
	})
	r.begin(ask("before", 1))
	r.Create("networking.k8s.io/v1", "networkpolicies", policy("shops", "app", "shop"))
	_, err := r.Try(t.Context(), "shop", ask("x", 1))
	if !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), `"shops"`) {
		t.Errorf("tried outside of the wall: %v", err)
	}
	// A policy that only calls itself the wall of a copy is none.
	r.Create("networking.k8s.io/v1", "networkpolicies", policy("shop-wall", "app", "shop"))
	r.Create("networking.k8s.io/v1", "networkpolicies", policy("shop-trials-wall", trialOfLabel, "shop"))
	r.Delete("networking.k8s.io/v1", "networkpolicies", "shops")
	if _, err := r.Try(t.Context(), "shop", ask("x", 1)); !errors.Is(err, platform.ErrUnsupported) {
		t.Errorf("tried behind a wall of unknown kind: %v", err)
	}
}

func TestATrialOfACopyHasAWallOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newCopyRig(t).trials("production")
	if err := r.client.Copy(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}
	s := r.awaitTrial(ask("x", 1), ready(1))
	if s.Size.MemoryBytes == 0 {
		t.Errorf("trial %+v", s)
	}
	if own := r.state(); len(own.Instances) != 0 {
		t.Errorf("the copy has the trial's pods: %+v", own)
	}
	if err := r.EndTrial(t.Context(), "shop", "x"); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd("x")
	r.Delete("networking.k8s.io/v1", "networkpolicies", "web-shadow-trials-wall")
	if _, err := r.Try(t.Context(), "shop", ask("y", 1)); !errors.Is(err, platform.ErrUnsupported) {
		t.Errorf("tried without a wall: %v", err)
	}
}

// What a process has no right to do is told at once; a quota of objects may be free a moment later.
func TestAMissingRightIsNoUseToWaitFor(t *testing.T) {
	t.Parallel()
	r := newTrials(t, deployment)
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		r.Faults.Inject(func(q *http.Request) int {
			if q.Method == method && strings.HasSuffix(q.URL.Path, "/deployments") {
				return http.StatusForbidden
			}
			return 0
		})
		if _, err := r.Try(t.Context(), "shop", ask("x", 1)); !errors.Is(err, platform.ErrUnsupported) {
			t.Errorf("%s forbidden: %v", method, err)
		}
	}
	// Where trials are not enabled nobody is asked for them every few seconds.
	r.Faults.Requests()
	for at := time.Duration(0); at < deniedFor; at += deniedFor / 10 {
		r.now = func() time.Time { return time.Now().Add(at) }
		if err := r.sweep(t.Context()); err != nil {
			t.Errorf("sweep without the right to: %v", err)
		}
	}
	if n := len(r.Faults.Requests()); n != 1 {
		t.Errorf("asked %d times in %s", n, deniedFor)
	}
	r.now = func() time.Time { return time.Now().Add(deniedFor + time.Minute) }
	r.Faults.Inject(nil)
	if err := r.sweep(t.Context()); err != nil || len(r.Faults.Requests()) == 0 {
		t.Errorf("not asked once the right was given: %v", err)
	}
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "deployments"}, "x", errors.New("exceeded quota: few"))
	if err := forbidden(quota); errors.Is(err, platform.ErrUnsupported) {
		t.Errorf("a quota: %v", err)
	}
}
