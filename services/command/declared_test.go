package command

import (
	"context"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/shadowscaler"
)

func TestMain(m *testing.M) { kubernetestest.Main(m) }

// waiting is a service that runs until it is told to stop.
type waiting struct{}

func (waiting) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func TestAProcessEndsCleanlyWhenSomethingElseIsDeclared(t *testing.T) {
	t.Parallel()
	cluster := kubernetestest.NewOnFake(t)
	client, err := kubernetes.NewFor(cluster.Config(), kubernetes.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	objects := shadowscaler.New(client, cluster.Namespace)
	f := defaultFile()
	for name, c := range map[string]struct {
		declared *declaration
		ends     bool
	}{
		"another declaration":              {&declaration{objects: objects, fingerprint: "of another"}, true},
		"the replicator, which users need": {&declaration{objects: objects, fingerprint: "of another", stay: true}, false},
		"no ShadowScalers are looked at":   {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(f, "predictor")
			p.declared = c.declared
			// Twice as long as a process looks between two declarations, for those that must not end by themselves.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if !c.ends {
				ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
			}
			defer cancel()
			if err := p.run(ctx, "127.0.0.1:0", waiting{}); err != nil {
				t.Errorf("run = %v, want a clean end", err)
			}
			if ended := ctx.Err() == nil; ended != c.ends {
				t.Errorf("ended by itself: %v, want %v", ended, c.ends)
			}
		})
	}
}
