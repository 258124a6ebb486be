package experiment_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
)

const (
	running   = foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING
	succeeded = foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED
	failed    = foreshadowv1.ExperimentState_EXPERIMENT_STATE_FAILED
	cancelled = foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED
)

// memory is a log that stores share, and that can be away. Its clock is the stores'.
type memory struct {
	mu     sync.Mutex
	list   []*foreshadowv1.Experiment
	stores []*experiment.Store
	away   error
	before func() // when set, is called before a record is written

	runners int
	elapsed atomic.Int64
}

func (m *memory) Append(_ context.Context, e *foreshadowv1.Experiment) error {
	if m.before != nil {
		m.before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return m.away
	}
	m.list = append(m.list, proto.CloneOf(e))
	for _, s := range m.stores {
		s.Restore(proto.CloneOf(e))
	}
	return nil
}

func (m *memory) time() time.Time { return time.Unix(2000, 0).Add(time.Duration(m.elapsed.Load())) }

// join is the store of one more runner.
func (m *memory) join() *experiment.Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runners++
	s := experiment.NewStore(experiment.Options{Check: check, Log: m, Runner: fmt.Sprint("runner-", m.runners), Now: m.time})
	for _, e := range m.list {
		s.Restore(proto.CloneOf(e))
	}
	s.Recalled()
	m.stores = append(m.stores, s)
	return s
}

// reopen is the store of a runner that starts after all others were killed, once their lease is over.
func (m *memory) reopen() *experiment.Store {
	m.mu.Lock()
	m.stores = nil
	m.mu.Unlock()
	s := m.join()
	m.pass(experiment.DefaultLease)
	return s
}

// pass lets time pass in which nobody records anything.
func (m *memory) pass(d time.Duration) { m.elapsed.Add(int64(d)) }

func check(w string) (float64, error) {
	switch w {
	case "shop", "blog":
		return 40, nil
	case "asleep":
		return 0, fmt.Errorf("workload %q: the shadow has no ready instance: %w", w, rpc.ErrPrecondition)
	}
	return 0, fmt.Errorf("workload %q: %w", w, rpc.ErrNotFound)
}

func newStore() *experiment.Store { return (&memory{}).join() }

func request(workload, id string) *foreshadowv1.CreateExperimentRequest {
	return &foreshadowv1.CreateExperimentRequest{Workload: workload, Amplifications: []float64{1, 2}, RequestId: id}
}

func create(t *testing.T, s *experiment.Store, workload, id string) *foreshadowv1.Experiment {
	t.Helper()
	resp, err := s.CreateExperiment(t.Context(), request(workload, id))
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetExperiment()
}

func get(t *testing.T, s *experiment.Store, id string) *foreshadowv1.Experiment {
	t.Helper()
	resp, err := s.GetExperiment(t.Context(), &foreshadowv1.GetExperimentRequest{ExperimentId: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetExperiment()
}

func record(t *testing.T, s *experiment.Store, id string, rate float64) {
	t.Helper()
	others := len(get(t, s, id).GetResults())
	if err := s.Record(t.Context(), id, others, &foreshadowv1.CapacityStep{OfferedPerSecond: rate}); err != nil {
		t.Fatal(err)
	}
}

// take is the job that waits, and its context.
func take(t *testing.T, s *experiment.Store) (experiment.Job, context.Context) {
	t.Helper()
	job, ctx, ok := s.Take(t.Context(), "shop")
	if !ok {
		t.Fatal("nothing waits")
	}
	return job, ctx
}

func finish(t *testing.T, s *experiment.Store, id, failure string) {
	t.Helper()
	if _, err := s.Finish(t.Context(), id, failure, ""); err != nil {
		t.Fatal(err)
	}
}

func TestAnExperimentFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	s := newStore()
	e := create(t, s, "shop", "r1")
	if e.GetState() != running || e.GetHoldSeconds() != 10 || e.GetExperimentId() == "" {
		t.Errorf("begins as %v", e)
	}
	if again := create(t, s, "shop", "r1"); again.GetExperimentId() != e.GetExperimentId() {
		t.Error("a retried call made a second experiment")
	}
	if _, err := s.CreateExperiment(t.Context(), request("shop", "r2")); status.Code(rpc.Status(err)) != codes.ResourceExhausted {
		t.Errorf("a second one at a time: %v", err)
	}
	if _, _, ok := s.Take(t.Context(), "blog"); ok {
		t.Error("another workload took it")
	}
	job, _, ok := s.Take(t.Context(), "shop")
	if !ok || job.ID != e.GetExperimentId() || len(job.Amplifications) != 2 || job.Hold != 10*time.Second {
		t.Errorf("job %+v, %v", job, ok)
	}
	if _, _, again := s.Take(t.Context(), "shop"); again {
		t.Error("taken twice")
	}
	record(t, s, job.ID, 40)
	record(t, s, job.ID, 80)
	finish(t, s, job.ID, "")
	got := get(t, s, job.ID)
	if got.GetState() != succeeded || len(got.GetResults()) != 2 || got.GetCompleteTime() == nil || got.GetResults()[1].GetOfferedPerSecond() != 80 {
		t.Errorf("ends as %v", got)
	}
	next := create(t, s, "shop", "r3")
	take(t, s)
	finish(t, s, next.GetExperimentId(), "the shadow went away")
	if got := get(t, s, next.GetExperimentId()); got.GetState() != failed || got.GetFailure() != "the shadow went away" {
		t.Errorf("failed as %v", got)
	}
}

func TestCancelEndsTheJobAndKeepsResults(t *testing.T) {
	t.Parallel()
	s := newStore()
	id := create(t, s, "shop", "").GetExperimentId()
	_, ctx, _ := s.Take(t.Context(), "shop")
	record(t, s, id, 40)
	for range 2 { // cancelling what is cancelled is no error
		resp, err := s.CancelExperiment(t.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: id})
		if err != nil || resp.GetExperiment().GetState() != cancelled || len(resp.GetExperiment().GetResults()) != 1 {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the job goes on")
	}
	record(t, s, id, 80)
	finish(t, s, id, "the runner was stopped")
	if got := get(t, s, id); got.GetState() != cancelled || len(got.GetResults()) != 1 || got.GetFailure() != "" {
		t.Errorf("after the job ended: %v", got)
	}
	create(t, s, "shop", "") // and another can run
}

func TestBadRequestsNameTheirField(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(*foreshadowv1.CreateExperimentRequest)
		code codes.Code
		want string
	}{
		"no workload":      {func(r *foreshadowv1.CreateExperimentRequest) { r.Workload = "" }, codes.InvalidArgument, "workload"},
		"unknown workload": {func(r *foreshadowv1.CreateExperimentRequest) { r.Workload = "nobody" }, codes.NotFound, "nobody"},
		"no shadow":        {func(r *foreshadowv1.CreateExperimentRequest) { r.Workload = "asleep" }, codes.FailedPrecondition, "no ready instance"},
		"no loads":         {func(r *foreshadowv1.CreateExperimentRequest) { r.Amplifications = nil }, codes.InvalidArgument, "amplifications"},
		"zero":             {func(r *foreshadowv1.CreateExperimentRequest) { r.Amplifications[1] = 0 }, codes.InvalidArgument, "amplifications[1]"},
		"not a number":     {func(r *foreshadowv1.CreateExperimentRequest) { r.Amplifications[0] = math.NaN() }, codes.InvalidArgument, "amplifications[0]"},
		"too much":         {func(r *foreshadowv1.CreateExperimentRequest) { r.Amplifications[0] = 11 }, codes.InvalidArgument, "amplifications[0]"},
		"too long":         {func(r *foreshadowv1.CreateExperimentRequest) { r.HoldSeconds = 601 }, codes.InvalidArgument, "hold_seconds"},
		"too short":        {func(r *foreshadowv1.CreateExperimentRequest) { r.HoldSeconds = 0.5 }, codes.InvalidArgument, "hold_seconds"},
	}
	for name, tc := range tests {
		r := request("shop", "")
		tc.edit(r)
		_, err := newStore().CreateExperiment(t.Context(), r)
		if got := status.Code(rpc.Status(err)); got != tc.code || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v (%v), want %v that names %q", name, err, got, tc.code, tc.want)
		}
	}
}

func TestListIsPagedNewestFirst(t *testing.T) {
	t.Parallel()
	s := newStore()
	for i := range 7 {
		w := []string{"shop", "blog"}[i%2]
		e := create(t, s, w, fmt.Sprint(i))
		if _, _, ok := s.Take(t.Context(), w); !ok {
			t.Fatal("nothing waits")
		}
		finish(t, s, e.GetExperimentId(), fmt.Sprint(i))
	}
	var got []string
	token := ""
	for pages := 1; ; pages++ {
		resp, err := s.ListExperiments(t.Context(), &foreshadowv1.ListExperimentsRequest{Workload: "shop", PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.GetExperiments() {
			got = append(got, e.GetFailure())
		}
		if token = resp.GetNextPageToken(); token == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if strings.Join(got, " ") != "6 4 2 0" {
		t.Errorf("listed %v", got)
	}
	for _, bad := range []*foreshadowv1.ListExperimentsRequest{{PageSize: -1}, {PageSize: 1001}, {PageToken: "x"}} {
		if _, err := s.ListExperiments(t.Context(), bad); status.Code(rpc.Status(err)) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
