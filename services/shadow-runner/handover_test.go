package shadowrunner_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// reserve launches a runner beside the one that has the seat, and waits until it is in reserve.
func (r *rig) reserve() runner {
	r.t.Helper()
	u := r.launch()
	r.await("the second runner to be in reserve", func() bool { return u.log.times("partitions assigned") > 0 })
	return u
}

// idle fails when a runner in reserve has replayed, measured or published anything.
func (u runner) idle(t testing.TB) {
	t.Helper()
	for _, hop := range []string{"shadow-runner/replay", "shadow-runner/probe", "shadow-runner/capacities", "shadow-runner/observations"} {
		if l := u.ledger(t, hop); l.Seen != 0 {
			t.Errorf("in reserve: ledger %+v", l)
		}
	}
}

// handOver stops the runner that is asked, and asks the other from then on.
func (r *rig) handOver(to runner) {
	r.t.Helper()
	r.stop()
	r.runner = to
	r.awaitTraffic()
}

func (r *rig) capacities() []*foreshadowv1.CapacityMeasured {
	r.t.Helper()
	return read(r, kafka.TopicCapacityMeasured, func() *foreshadowv1.CapacityMeasured { return &foreshadowv1.CapacityMeasured{} })
}

// TestOneOfTwoRunnersMeasures has a measurement last until its runner is stopped.
func TestOneOfTwoRunnersMeasures(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 4, 5*time.Millisecond), func(w *workload.Workload) {
		w.Replay.MinRequests, w.Replay.StepDuration, w.Replay.SettleDuration = 60, time.Hour, 0
	})
	const began = "capacity measurement started"
	r.traffic()
	r.await("the first to measure", func() bool { return r.ledger("shadow-runner/probe").Seen > 0 })
	second := r.reserve()
	r.traffic()
	sent := r.ledger("shadow-runner/probe").Passed
	r.await("the first to go on", func() bool { return r.ledger("shadow-runner/probe").Passed > sent })
	second.idle(t)
	if n := r.log.times(began); n != 1 {
		t.Errorf("the first began %d measurements: one that joins must not end it", n)
	}

	r.handOver(second)
	if n := len(r.capacities()); n != 0 {
		t.Errorf("a measurement that was given up published %d capacities", n)
	}
	r.traffic()
	r.await("the second to measure", func() bool { return r.ledger("shadow-runner/probe").Seen > 0 })
	if n := r.log.times(began); n != 1 {
		t.Errorf("the second began %d measurements", n)
	}
	if len(r.production.Seen()) != 0 {
		t.Error("production was reached")
	}
}

// TestWhoTakesOverKnowsWhatWasMeasured: the second sends nothing but what its experiment asks for.
func TestWhoTakesOverKnowsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 4, 5*time.Millisecond), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout, w.Replay.MaxRate = 10*time.Second, 20*time.Second, 60 // as in TestCapacityIsMeasuredAndExperimentsRun
		w.Replay.MinRequests, w.Replay.StepDuration, w.Replay.SettleDuration = 60, 600*time.Millisecond, 100*time.Millisecond
	})
	second := r.reserve() // before there is anything to know
	r.traffic()
	r.await("a precise capacity", func() bool {
		list := r.capacities()
		return len(list) > 0 && list[len(list)-1].GetPrecise()
	})
	second.idle(t)
	r.handOver(second)
	known := len(r.capacities())
	r.traffic()
	r.experiment("by the second", 1)
	if l := r.ledger("shadow-runner/probe"); l.Seen%44 != 0 || l.Seen > 3*44 || len(r.capacities()) != known {
		t.Errorf("probe %+v, %d capacities, want the %d of the first", l, len(r.capacities()), known)
	}
}

// TestAnExperimentGoesOnAtTheOther begins an experiment at the runner in reserve, and stops the one that carries it out in the middle:
// it lets go, and what was held is not held again.
func TestAnExperimentGoesOnAtTheOther(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 4, 5*time.Millisecond), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout, w.Replay.SettleDuration = 10*time.Second, 20*time.Second, 100*time.Millisecond
	})
	second := r.reserve()
	r.traffic()
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", Amplifications: []float64{0.5, 1}, HoldSeconds: 4, RequestId: "x"}
	var half, whole *foreshadowv1.Experiment
	r.await("the experiment", func() bool { return second.ask(t, ask) != nil })
	r.await("half of the experiment", func() bool {
		half = r.ask(t, ask)
		return len(half.GetResults()) == 1
	})
	second.idle(t)
	r.handOver(second)
	r.traffic()
	r.await("the end of the experiment", func() bool {
		whole = r.ask(t, ask)
		return whole != nil && whole.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING
	})
	if whole.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED || whole.GetExperimentId() != half.GetExperimentId() ||
		len(whole.GetResults()) != 2 || math.Abs(whole.GetProductionRequestsPerSecond()-40) > 2 || !proto.Equal(whole.GetResults()[0], half.GetResults()[0]) {
		t.Errorf("%v\nwent on as %v", half, whole)
	}
	var runners []string
	for _, e := range read(r, kafka.TopicExperimentRecorded, func() *foreshadowv1.Experiment { return &foreshadowv1.Experiment{} }) {
		if n := len(runners); n == 0 || e.GetRunner() != runners[n-1] {
			runners = append(runners, e.GetRunner())
		}
	}
	// Created, taken, let go at once instead of left to a lease, and taken by the other.
	if len(runners) != 4 || runners[0] != "" || runners[2] != "" || runners[1] == runners[3] {
		t.Errorf("carried out by %q", runners)
	}
}

// ask asks a runner for an experiment, which is the same one when it was asked for before; nil when it is refused.
func (u runner) ask(t testing.TB, req *foreshadowv1.CreateExperimentRequest) *foreshadowv1.Experiment {
	t.Helper()
	conn, err := rpc.Dial(u.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	resp, err := foreshadowv1.NewExperimentServiceClient(conn).CreateExperiment(t.Context(), req)
	if err != nil {
		return nil
	}
	return resp.GetExperiment()
}
