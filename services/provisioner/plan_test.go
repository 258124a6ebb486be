package provisioner

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestPlanIsShownAndNothingIsChanged(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	w := declared("shop")
	w.Production = workload.Target{Platform: kubernetes.Platform, Group: "shop", Kubernetes: c.Workload("Deployment", "web", 3)}
	// The pods say that they are given a tenth of a core; that counts, and not what was declared.
	w.Production.CPUCores, w.Prices = 0.5, workload.Prices{CPUCoreHour: 0.2}
	w.Guardrails.MaxStepUp, w.Guardrails.Resize = 2, true
	w.Guardrails.Rollback.Within = time.Minute
	client, err := kubernetes.NewFor(c.Config(), kubernetes.DefaultConfig(), map[string]workload.Kubernetes{"shop": w.Production.Kubernetes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	now := time.Now()
	plan := func(instances int32, cores float64, status *foreshadowv1.ProvisioningStatus) string {
		t.Helper()
		r := &foreshadowv1.Recommendation{
			RecommendationId: "r-1", Workload: "shop", Generation: 9, ExpireTime: timestamppb.New(now.Add(time.Minute)),
			Production: &foreshadowv1.Sizing{Instances: instances, CpuCores: cores}, Policy: foreshadowv1.Policy_POLICY_PREDICTIVE,
		}
		p, err := MakePlan(t.Context(), w, r, status, client, now)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, test := range map[string]struct {
		got  string
		want string
	}{
		"up": {plan(6, 0, nil), `shop: apply, 3 -> 5 instances (recommendation r-1)
  because 6 recommended, 5 allowed: at most 2 more at a time [max_step_up]
  price per hour 0.06 -> 0.1
  1. ask for 5 instances, 2 more
  2. call it done when all 5 serve, failed after 30s
`},
		"down": {plan(2, 0, nil), `shop: apply, 3 -> 2 instances (recommendation r-1)
  price per hour 0.06 -> 0.04
  1. ask for 2 instances, 1 fewer: those that do not serve yet go first, then the youngest; each finishes its requests
  2. call it done when all 2 serve, failed after 30s
  3. watch users for 1m0s, and go back when the SLO breaks
`},
		"size": {plan(3, 0.15, nil), `shop: apply, 3 -> 3 instances (recommendation r-1)
  price per hour 0.06 -> 0.09
  1. give one instance 0.15 CPU cores, and wait until it serves
  2. give the other 2 the same, and those that are started from then on
  3. call it done when all 3 serve, failed after 30s
  4. watch users for 1m0s, and go back when the SLO breaks
`},
		"paused": {plan(6, 0, &foreshadowv1.ProvisioningStatus{Paused: true}), `shop: refuse, 3 -> 3 instances (recommendation r-1)
  because provisioning is paused [pause]
`},
	} {
		if test.got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, test.got, test.want)
		}
	}
	for _, q := range c.Faults.Requests() {
		if q.Method != http.MethodGet && !strings.HasSuffix(q.Path, "/deployments") {
			t.Errorf("a plan made the request %s %s", q.Method, q.Path)
		}
	}
}
