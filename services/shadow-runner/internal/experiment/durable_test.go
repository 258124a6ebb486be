package experiment_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
)

// matrix is two configurations under two loads.
func matrix() *foreshadowv1.CreateExperimentRequest {
	return &foreshadowv1.CreateExperimentRequest{Workload: "shop", HoldSeconds: 30, RequestId: "m", Matrix: &foreshadowv1.ExperimentMatrix{
		MaxInstances: 2, MaxMinutes: 10,
		Configurations: []*foreshadowv1.ExperimentConfiguration{{Name: "as-is", Instances: 2}, {Name: "big", Instances: 1, CpuCores: 2}},
		Loads: []*foreshadowv1.ExperimentLoad{
			{Name: "now", Amplification: 1}, {Name: "day", ShapePerSecond: []float64{10, 30, 50}},
		},
	}}
}

// However often the runner is killed, and wherever, each cell is carried out once and none is missing.
func TestAKilledRunnerGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	log := &memory{}
	s := log.reopen()
	resp, err := s.CreateExperiment(t.Context(), matrix())
	if err != nil {
		t.Fatal(err)
	}
	id := resp.GetExperiment().GetExperimentId()
	held := map[string]int{}
	for left := 4; left > 0; left-- {
		s = log.reopen() // what was under way, and not recorded, is gone
		job, _, ok := s.Take(t.Context(), "shop")
		if !ok || job.ID != id || len(job.Cells) != left {
			t.Fatalf("job %+v, %v, want %d cells left", job, ok, left)
		}
		if c := job.Cells[0]; c.Load.GetName() == "now" && c.Rate != 40 || c.Load.GetName() == "day" && c.Rate != 30 {
			t.Errorf("rate %v at load %v: production's was 40 when it began", c.Rate, c.Load)
		}
		if want := 0.5 * float64(4-left); job.UsedMinutes != want {
			t.Errorf("%v minutes used, want %v", job.UsedMinutes, want)
		}
		cell := &foreshadowv1.ExperimentCell{Configuration: job.Cells[0].Configuration.GetName(), Load: job.Cells[0].Load.GetName(), Result: &foreshadowv1.CapacityStep{SloMet: true}}
		held[cell.GetConfiguration()+"/"+cell.GetLoad()]++
		for range 2 { // an acknowledgement that was lost has it recorded again
			if err := s.RecordCell(t.Context(), id, cell, 0.5); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = log.reopen()
	job, _, ok := s.Take(t.Context(), "shop")
	if !ok || len(job.Cells) != 0 || len(held) != 4 {
		t.Fatalf("job %+v, %v; held %v", job, ok, held)
	}
	if ended, err := s.Finish(t.Context(), id, "", "big"); err != nil || ended.GetState() != succeeded || len(ended.GetCells()) != 4 || ended.GetCheapest() != "big" {
		t.Errorf("ended as %v, %v", ended, err)
	}
	s = log.reopen()
	if e := get(t, s, id); e.GetState() != succeeded || len(e.GetCells()) != 4 || e.GetUsedMinutes() != 2 {
		t.Errorf("after a restart: %v", e)
	}
	if again, err := s.CreateExperiment(t.Context(), matrix()); err != nil || again.GetExperiment().GetExperimentId() != id {
		t.Errorf("a retried call after all restarts: %v, %v", again, err)
	}
}

// Copies of records, and what was made of an earlier revision than the last, change nothing.
func TestOnlyTheNextRevisionCounts(t *testing.T) {
	t.Parallel()
	log := &memory{}
	s := log.reopen()
	id := create(t, s, "shop", "r").GetExperimentId()
	take(t, s)
	record(t, s, id, 40)
	stale := proto.CloneOf(get(t, s, id))
	finish(t, s, id, "")
	stale.Revision++
	stale.Failure = "made of what was before"
	for _, e := range append([]*foreshadowv1.Experiment{stale}, log.list...) {
		s.Restore(proto.CloneOf(e))
	}
	log.list = append(log.list, stale)
	for name, s := range map[string]*experiment.Store{"the same": s, "another": log.reopen()} {
		if e := get(t, s, id); e.GetState() != succeeded || len(e.GetResults()) != 1 || e.GetFailure() != "" {
			t.Errorf("%s: stands as %v", name, e)
		}
	}
}

// Without the log nothing begins, and nothing is said to have happened.
func TestNothingHappensThatIsNotDurable(t *testing.T) {
	t.Parallel()
	log := &memory{}
	s := log.reopen()
	id := create(t, s, "shop", "r").GetExperimentId()
	_, ctx, _ := s.Take(t.Context(), "shop")
	log.away = errors.New("no broker")
	if err := s.Record(t.Context(), id, 0, &foreshadowv1.CapacityStep{}); err == nil || len(get(t, s, id).GetResults()) != 0 {
		t.Errorf("recorded nowhere: %v, %v", err, get(t, s, id))
	}
	if _, err := s.CancelExperiment(t.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: id}); status.Code(rpc.Status(err)) != codes.Unavailable || ctx.Err() == nil {
		t.Errorf("cancelled nowhere: %v; its load goes on: %v", err, ctx.Err() == nil)
	}
	fresh := (&memory{away: errors.New("no broker")}).reopen()
	if _, err := fresh.CreateExperiment(t.Context(), request("shop", "")); status.Code(rpc.Status(err)) != codes.Unavailable {
		t.Errorf("created nowhere: %v", err)
	}
	if _, _, ok := fresh.Take(t.Context(), "shop"); ok {
		t.Error("it began all the same")
	}
}

func TestNothingIsSaidBeforeThePastIsKnown(t *testing.T) {
	t.Parallel()
	s := experiment.NewStore(experiment.Options{Check: check, Log: &memory{}})
	_, create := s.CreateExperiment(t.Context(), request("shop", "r"))
	_, get := s.GetExperiment(t.Context(), &foreshadowv1.GetExperimentRequest{ExperimentId: "x"})
	_, list := s.ListExperiments(t.Context(), &foreshadowv1.ListExperimentsRequest{})
	for _, err := range []error{create, get, list} {
		if status.Code(rpc.Status(err)) != codes.Unavailable {
			t.Errorf("got %v, want it unavailable", err)
		}
	}
}

func TestEveryFaultOfAMatrixIsNamed(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*foreshadowv1.CreateExperimentRequest){
		"amplifications":                            func(r *foreshadowv1.CreateExperimentRequest) { r.Amplifications = []float64{1} },
		"matrix.configurations":                     func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations = nil },
		"matrix.loads":                              func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Loads = nil },
		"matrix.max_instances":                      func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.MaxInstances = 0 },
		"matrix.max_minutes":                        func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.MaxMinutes = 1.9 },
		"matrix.configurations[1].name":             func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[1].Name = "as-is" },
		"matrix.configurations[0].name":             func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[0].Name = "As is" },
		"matrix.configurations[0].instances":        func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[0].Instances = 0 },
		"matrix.configurations[0].shadow_instances": func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[0].ShadowInstances = 3 },
		"matrix.configurations[1].cpu_cores":        func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[1].CpuCores = -1 },
		"matrix.configurations[1].memory_bytes":     func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Configurations[1].MemoryBytes = -1 },
		"matrix.configurations[1].environment": func(r *foreshadowv1.CreateExperimentRequest) {
			r.Matrix.Configurations[1].Environment = map[string]string{"PORT": "1"}
		},
		"matrix.loads[0].amplification":    func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Loads[0].Amplification = 11 },
		"matrix.loads[1].shape_per_second": func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Loads[1].ShapePerSecond = []float64{0} },
		"matrix.loads[1].name":             func(r *foreshadowv1.CreateExperimentRequest) { r.Matrix.Loads[1].RequestsPerSecond = 3 },
	}
	if faults := experiment.Faults(matrix()); len(faults) != 0 {
		t.Fatalf("a good one has %v", faults)
	}
	for field, spoil := range tests {
		r := matrix()
		spoil(r)
		if faults := experiment.Faults(r); len(faults) == 0 || faults[0].Field != field {
			t.Errorf("%s: faults %v", field, faults)
		}
	}
	r := matrix()
	r.Matrix.Configurations[0].Instances, r.Matrix.Loads[0].Amplification, r.Workload = 0, -1, ""
	if faults := experiment.Faults(r); len(faults) != 3 {
		t.Errorf("three faults come as %v", faults)
	}
}

func TestTheCheapestMeetsTheSLOUnderEveryLoad(t *testing.T) {
	t.Parallel()
	m := matrix().GetMatrix()
	prices := workload.Prices{CPUCoreHour: 0.5, MemoryGiBHour: 0.1}
	target := workload.Target{CPUCores: 1, MemoryBytes: 2 << 30}
	perHour := func(c *foreshadowv1.ExperimentConfiguration) float64 {
		return experiment.PricePerHour(prices, target, c)
	}
	if a, b := perHour(m.Configurations[0]), perHour(m.Configurations[1]); a != 1.4 || b != 1.2 {
		t.Errorf("an hour costs %v and %v, want 1.4 and 1.2", a, b)
	}
	if got := experiment.PricePerMillion(1.4, 100); fmt.Sprintf("%.4f", got) != "3.8889" {
		t.Errorf("a million cost %v", got)
	}
	cell := func(c, l string, met bool) *foreshadowv1.ExperimentCell {
		return &foreshadowv1.ExperimentCell{Configuration: c, Load: l, Result: &foreshadowv1.CapacityStep{SloMet: met}}
	}
	tests := map[string]struct {
		cells []*foreshadowv1.ExperimentCell
		want  string
	}{
		"both":        {[]*foreshadowv1.ExperimentCell{cell("as-is", "now", true), cell("as-is", "day", true), cell("big", "now", true), cell("big", "day", true)}, "big"},
		"one breaks":  {[]*foreshadowv1.ExperimentCell{cell("as-is", "now", true), cell("as-is", "day", true), cell("big", "now", true), cell("big", "day", false)}, "as-is"},
		"one missing": {[]*foreshadowv1.ExperimentCell{cell("as-is", "now", true), cell("big", "now", true), {Configuration: "big", Load: "day", Failure: "hangs"}}, ""},
		"none":        {nil, ""},
	}
	for name, tc := range tests {
		if got := experiment.Cheapest(m, tc.cells, perHour); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	free := func(*foreshadowv1.ExperimentConfiguration) float64 { return 0 }
	if got := experiment.Cheapest(m, tests["both"].cells, free); got != "big" {
		t.Errorf("without prices %q, want the one with fewer instances", got)
	}
}

// TestAnExperimentIsStrandedWhenNobodyKnowsItsWorkload: not while one runner may be newer than another, nor while it is carried out.
func TestAnExperimentIsStrandedWhenNobodyKnowsItsWorkload(t *testing.T) {
	t.Parallel()
	m := &memory{}
	s := m.join()
	create(t, s, "blog", "")
	none := func(string) bool { return false }
	stranded := func(known func(string) bool) bool {
		workload, ok := s.Stranded(known, time.Hour)
		return ok && workload == "blog"
	}
	if stranded(none) {
		t.Error("at once")
	}
	m.pass(time.Hour)
	if !stranded(none) || stranded(func(w string) bool { return w == "blog" }) {
		t.Error("after an hour it is, unless it is known")
	}
	job, _, ok := s.Take(t.Context(), "blog")
	if !ok || stranded(none) {
		t.Error("while it is carried out")
	}
	finish(t, s, job.ID, "gone")
	if stranded(none) {
		t.Error("once it has ended")
	}
}
