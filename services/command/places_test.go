package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// onKubernetes are the places of a workload whose shadow alone is on a cluster.
func onKubernetes(t *testing.T) *places {
	t.Helper()
	cluster := kubernetestest.NewOnFake(t)
	connected, err := kubernetes.NewFor(cluster.Config(), kubernetes.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connected.Close)
	f := defaultFile()
	f.LocalPlatform.Socket = "nobody.sock"
	w := workload.Default()
	w.Name = "shop"
	w.Production = workload.Target{Platform: workload.PlatformLocal, Group: "shop"}
	w.Shadow = workload.Target{Platform: workload.PlatformKubernetes, Group: "shop-shadow", Kubernetes: cluster.Workload("Deployment", "web", 1)}
	f.Workloads = []workload.Workload{w}
	p, err := newPlaces(f, connected, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestATrialIsFoundWhereItsGroupIs(t *testing.T) {
	t.Parallel()
	p := onKubernetes(t)
	ask := platform.Trial{Name: "x", Instances: 2, Lease: time.Minute}
	kubernetestest.Until(t, "the trial", func() bool {
		s, err := p.Try(t.Context(), "shop-shadow", ask)
		if err != nil {
			t.Fatal(err)
		}
		return s.Ready() == 2
	})
	group := platform.TrialGroup("shop-shadow", "x")
	if s, err := p.State(t.Context(), group); err != nil || len(s.Instances) != 2 {
		t.Errorf("its state is %+v, %v", s, err)
	}
	if _, err := p.Usage(t.Context(), group); err != nil {
		t.Errorf("its usage: %v", err)
	}
	if _, err := p.Scale(t.Context(), group, platform.Change{Instances: 9}); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("it was scaled: %v", err)
	}
	if err := p.EndTrial(t.Context(), "shop-shadow", "x"); err != nil {
		t.Error(err)
	}
	if _, err := p.State(t.Context(), group); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
	for group, want := range map[string]string{"shop": "nobody.sock", "nobody": "no such group", "nobody.x": "no such group"} {
		if _, err := p.Try(t.Context(), group, ask); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", group, err, want)
		}
		if err := p.EndTrial(t.Context(), group, "x"); err == nil {
			t.Errorf("%s: ended", group)
		}
	}
}

func TestOnlyAPlatformWithoutAnAgentIsKept(t *testing.T) {
	t.Parallel()
	p, err := newPlaces(defaultFile(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.KeepTrials(t.Context()); err != nil { // it would hang if there were any
		t.Error(err)
	}
}
