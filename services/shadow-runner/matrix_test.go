package shadowrunner_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// Try runs a trial on the server that the test has set for it.
func (g *groups) Try(_ context.Context, group string, t platform.Trial) (platform.State, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.MemoryBytes > 0 {
		return platform.State{}, fmt.Errorf("memory: %w", platform.ErrUnsupported)
	}
	name := platform.TrialGroup(group, t.Name)
	if len(g.ending) > 0 {
		g.wrong = fmt.Sprintf("%s was begun while these were ending: %v", name, g.ending)
	}
	s := platform.State{Group: name}
	for i := range t.Instances {
		s.Instances = append(s.Instances, ready(fmt.Sprint(name, i), g.trial))
	}
	g.trials = append(g.trials, name)
	return s, nil
}

// EndTrial notes it.
func (g *groups) EndTrial(_ context.Context, group, trial string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending[platform.TrialGroup(group, trial)] = 2
	g.trials = slices.DeleteFunc(g.trials, func(n string) bool { return n == platform.TrialGroup(group, trial) })
	return nil
}

// KeepTrials notes it.
func (g *groups) KeepTrials(ctx context.Context) error {
	g.mu.Lock()
	g.kept++
	g.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (r *rig) experiments() foreshadowv1.ExperimentServiceClient {
	r.t.Helper()
	conn, err := rpc.Dial(r.listen)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return foreshadowv1.NewExperimentServiceClient(conn)
}

func TestAMatrixRunsOverARestart(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 2, 25*time.Millisecond), func(w *workload.Workload) { // at most 80 requests/s
		w.SLO.Latency = 2 * time.Second // long enough for a busy machine
		w.Replay.SettleDuration, w.Prices.InstanceHour = 100*time.Millisecond, 1
	})
	fast := referencetest.New(t, 50, time.Millisecond)
	r.platform.trial = fast.Address
	r.traffic()
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", HoldSeconds: 3, RequestId: "m", Matrix: &foreshadowv1.ExperimentMatrix{
		MaxInstances: 3, MaxMinutes: 5,
		Configurations: []*foreshadowv1.ExperimentConfiguration{
			{Name: "as-is", Instances: 1}, {Name: "fast", Instances: 2, ShadowInstances: 2, Environment: map[string]string{"WORKERS": "50"}},
			{Name: "roomy", Instances: 1, MemoryBytes: 1 << 30},
		},
		Loads: []*foreshadowv1.ExperimentLoad{{Name: "now", Amplification: 1}, {Name: "day", ShapePerSecond: []float64{120, 260}}},
	}}
	client := r.experiments()
	var e *foreshadowv1.Experiment
	r.await("the experiment to be made", func() bool {
		resp, err := client.CreateExperiment(t.Context(), ask)
		e = resp.GetExperiment()
		return err == nil
	})
	look := func() *foreshadowv1.Experiment {
		resp, err := client.GetExperiment(t.Context(), &foreshadowv1.GetExperimentRequest{ExperimentId: e.GetExperimentId()})
		if err != nil {
			return nil // it starts
		}
		return resp.GetExperiment()
	}
	r.await("the first cell", func() bool { return len(look().GetCells()) > 0 })
	r.stop()
	r.run()
	client = r.experiments()
	r.traffic()
	r.await("the end", func() bool { return look().GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED })
	checkMatrix(t, r, look())
	if r.stop(); len(r.production.Seen()) != 0 || len(r.platform.trials) != 0 {
		t.Errorf("production saw %d requests, trials left: %v", len(r.production.Seen()), r.platform.trials)
	}
	if r.platform.wrong != "" {
		t.Error(r.platform.wrong)
	}
	if r.platform.kept != 2 {
		t.Errorf("trials were kept %d times, want once by each of two runners", r.platform.kept)
	}
}

func checkMatrix(t *testing.T, r *rig, e *foreshadowv1.Experiment) {
	t.Helper()
	want := map[string]string{
		"as-is/now": "true", "as-is/day": "false", "fast/now": "true", "fast/day": "true", "roomy/now": "no result", "roomy/day": "no result",
	}
	got, cheapest, results := map[string]string{}, "fast", 2
	for _, c := range e.GetCells() {
		key := c.GetConfiguration() + "/" + c.GetLoad()
		if _, twice := got[key]; twice {
			t.Errorf("%s was counted twice", key)
		}
		switch {
		case strings.Contains(c.GetFailure(), "load generator"):
			// It is there, once, and says why it has no result. What it would have been is not for this machine to say.
			t.Logf("%s was not measured: %s", key, c.GetFailure())
			got[key], want[key], cheapest, results = "busy", "busy", "", 0
		case c.GetResult() == nil:
			got[key] = "no result"
		default:
			got[key] = fmt.Sprint(c.GetResult().GetSloMet())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || cheapest != "" && e.GetCheapest() != cheapest || math.Abs(e.GetProductionRequestsPerSecond()-40) > 8 {
		t.Errorf("cells %v, want %v; cheapest %q, production %v", got, want, e.GetCheapest(), e.GetProductionRequestsPerSecond())
	}
	if results == 0 {
		return
	}
	// What it says to whoever plans is marked, and no capacity of production.
	found := 0
	r.await("the simulations", func() bool {
		found = 0
		for _, m := range read(r, kafka.TopicCapacityMeasured, func() *foreshadowv1.CapacityMeasured { return &foreshadowv1.CapacityMeasured{} }) {
			if s := m.GetSimulation(); s != nil {
				found++
				if m.GetValid() || m.GetRequestsPerSecond() != 0 || s.GetCheapest() != (s.GetConfiguration() == "fast") || s.GetSizeOnly() == s.GetCheapest() {
					t.Errorf("simulation %v", m)
				}
			}
		}
		return found > 0
	})
	if found != results {
		t.Errorf("%d simulations, want those of the two configurations with results", found)
	}
}

// A shadow that hangs yields no result, never a bad one or a good one.
func TestAHungShadowIsNoResult(t *testing.T) {
	t.Parallel()
	shadow := referencetest.New(t, 10, time.Millisecond)
	r := start(t, shadow, func(w *workload.Workload) {
		w.Replay.SettleDuration, w.Replay.Timeout = 100*time.Millisecond, 500*time.Millisecond
	})
	r.traffic()
	client := r.experiments()
	shadow.Stall()
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", HoldSeconds: 1, RequestId: "h", Matrix: &foreshadowv1.ExperimentMatrix{
		MaxInstances: 1, MaxMinutes: 1, Configurations: []*foreshadowv1.ExperimentConfiguration{{Name: "as-is", Instances: 1}},
		Loads: []*foreshadowv1.ExperimentLoad{{Name: "now", Amplification: 1}},
	}}
	var e *foreshadowv1.Experiment
	r.await("the end", func() bool {
		resp, err := client.CreateExperiment(t.Context(), ask)
		e = resp.GetExperiment()
		return err == nil && e.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED
	})
	if c := e.GetCells(); len(c) != 1 || c[0].GetResult() != nil || c[0].GetFailure() == "" || e.GetCheapest() != "" {
		t.Errorf("got %v", e)
	}
}

// A load during which the instance was told to end has no result. The next one is held on the instance that took its place.
func TestALoadAfterTheInstanceWentAwayIsHeldOnAnother(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 50, time.Millisecond), func(w *workload.Workload) {
		w.SLO.Latency = 2 * time.Second                                           // long enough for a busy machine
		w.Replay.SettleDuration, w.Replay.MinRequests = 100*time.Millisecond, 1e6 // nothing is measured beside
	})
	r.traffic()
	client := r.experiments()
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", HoldSeconds: 3, RequestId: "g", Matrix: &foreshadowv1.ExperimentMatrix{
		MaxInstances: 1, MaxMinutes: 1, Configurations: []*foreshadowv1.ExperimentConfiguration{{Name: "as-is", Instances: 1}},
		Loads: []*foreshadowv1.ExperimentLoad{{Name: "now", Amplification: 1}, {Name: "again", Amplification: 1}, {Name: "later", Amplification: 1}},
	}}
	var e *foreshadowv1.Experiment
	look := func() bool {
		resp, err := client.CreateExperiment(t.Context(), ask)
		e = resp.GetExperiment()
		return err == nil
	}
	r.await("the first load", func() bool { return look() && r.ledger("shadow-runner/probe").Seen > 0 })
	drains := ready("s1", r.shadow.Address)
	drains.Phase = platform.Draining
	r.platform.set("shop-shadow", drains)
	r.await("the first cell", func() bool { return look() && len(e.GetCells()) > 0 })
	r.platform.set("shop-shadow", ready("s2", referencetest.New(t, 50, time.Millisecond).Address))
	r.await("the second cell", func() bool { return look() && len(e.GetCells()) > 1 })
	rolled := ready("s3", referencetest.New(t, 50, time.Millisecond).Address)
	rolled.Version = "v2"
	r.platform.set("shop-shadow", rolled)
	r.await("the end", func() bool { return look() && e.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED })
	c := e.GetCells()
	if len(c) != 3 || !strings.Contains(c[0].GetFailure(), "went away") {
		t.Fatalf("cells %v", c)
	}
	if why := c[1].GetFailure(); why != "" && !strings.Contains(why, "load generator") {
		t.Errorf("the second load was not held: %s", why)
	}
	// Of another version is another configuration. The change may have come while the third was held already.
	if c[2].GetResult() != nil || !strings.Contains(c[2].GetFailure(), "v2") && !strings.Contains(c[2].GetFailure(), "went away") {
		t.Errorf("the third load was held on another version: %v", c[2])
	}
}

// A load that kills the shadow is a result: with the second instance that dies of it, and with or without a matrix.
func TestALoadThatKillsTheShadowIsNotCarried(t *testing.T) {
	t.Parallel()
	const hold, fatal = 6, 160 // seconds, and requests, of which there are 40 in a second
	ask := map[string]*foreshadowv1.CreateExperimentRequest{
		"amplified": {Amplifications: []float64{1}},
		"matrix": {Matrix: &foreshadowv1.ExperimentMatrix{
			MaxInstances: 1, MaxMinutes: 1, Configurations: []*foreshadowv1.ExperimentConfiguration{{Name: "as-is", Instances: 1}},
			Loads: []*foreshadowv1.ExperimentLoad{{Name: "now", Amplification: 1}},
		}},
	}
	for name, ask := range ask {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, referencetest.New(t, 50, time.Millisecond), func(w *workload.Workload) {
				w.SLO.Latency = 2 * time.Second                                           // long enough for a busy machine
				w.Replay.SettleDuration, w.Replay.MinRequests = 100*time.Millisecond, 1e6 // nothing is measured beside
			})
			r.traffic()
			ask.Workload, ask.HoldSeconds, ask.RequestId = "shop", hold, "k"
			client, deaths := r.experiments(), 0
			var e *foreshadowv1.Experiment
			s := r.shadow
			before := len(s.Seen())
			r.await("the end", func() bool {
				resp, err := client.CreateExperiment(t.Context(), ask)
				if e = resp.GetExperiment(); err != nil || e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
					return err == nil
				}
				if deaths < 2 && len(s.Seen())-before > fatal {
					s.Kill()
					deaths++
					r.platform.set("shop-shadow")
					s, before = referencetest.New(t, 50, time.Millisecond), 0
					r.platform.set("shop-shadow", ready(fmt.Sprint("s", 1+deaths), s.Address))
				}
				return false
			})
			results, failure := e.GetResults(), e.GetFailure()
			for _, c := range e.GetCells() {
				if failure = c.GetFailure(); failure == "" {
					results = append(results, c.GetResult())
				}
			}
			switch {
			case strings.Contains(failure, "load generator"):
				t.Logf("too busy a machine: %s", failure)
			case failure != "" || deaths != 2 || len(results) != 1 || results[0].GetSloMet() || results[0].GetBroken() != "loss of the instance":
				t.Errorf("%d deaths: %v", deaths, e)
			}
		})
	}
}
