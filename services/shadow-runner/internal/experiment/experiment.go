// Package experiment keeps the what-if experiments of a runner and serves ExperimentService over them. It knows what was
// asked for and how far it has come; holding the loads is the work of whoever takes the jobs. Everything is in memory: a
// restart forgets.
package experiment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	maxLoads         = 20
	maxAmplification = 10.0
	maxHold          = 600.0
	defaultHold      = 10.0
	defaultPage      = 100
	maxPage          = 1000
	// kept bounds the memory: the oldest experiment beyond it is forgotten.
	kept = 1000
)

// Store is safe for concurrent use.
type Store struct {
	foreshadowv1.UnimplementedExperimentServiceServer

	// check says why an experiment on a workload cannot run now.
	check func(workload string) error
	now   func() time.Time

	mu      sync.Mutex
	list    []*entry // oldest first
	running *entry
}

type entry struct {
	experiment *foreshadowv1.Experiment
	request    string
	taken      bool
	cancel     context.CancelFunc
}

// Job is one experiment to carry out.
type Job struct {
	// ID names it.
	ID string
	// Amplifications are the loads in turn, as multiples of production's present rate per instance.
	Amplifications []float64
	// Hold is how long each load counts.
	Hold time.Duration
}

// NewStore returns an empty store. check says why an experiment on a workload cannot run now: an rpc.ErrNotFound when the
// workload is unknown, an rpc.ErrPrecondition when it cannot be measured.
func NewStore(check func(workload string) error, now func() time.Time) *Store {
	return &Store{check: check, now: now}
}

// CreateExperiment implements ExperimentService.
func (s *Store) CreateExperiment(_ context.Context, req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.CreateExperimentResponse, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.GetRequestId() != "" {
		for _, e := range s.list {
			if e.request == req.GetRequestId() && e.experiment.GetWorkload() == req.GetWorkload() {
				return &foreshadowv1.CreateExperimentResponse{Experiment: clone(e)}, nil
			}
		}
	}
	if err := s.check(req.GetWorkload()); err != nil {
		return nil, err
	}
	if s.running != nil {
		return nil, fmt.Errorf("experiment %s is running: %w", s.running.experiment.GetExperimentId(), rpc.ErrExhausted)
	}
	hold := req.GetHoldSeconds()
	if hold == 0 {
		hold = defaultHold
	}
	e := &entry{request: req.GetRequestId(), experiment: &foreshadowv1.Experiment{
		ExperimentId: uuid.NewString(), Workload: req.GetWorkload(), Amplifications: req.GetAmplifications(), HoldSeconds: hold,
		State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING, CreateTime: timestamppb.New(s.now()),
	}}
	s.list = append(s.list, e)
	s.list = slices.Delete(s.list, 0, max(0, len(s.list)-kept))
	s.running = e
	return &foreshadowv1.CreateExperimentResponse{Experiment: clone(e)}, nil
}

func validate(req *foreshadowv1.CreateExperimentRequest) error {
	if req.GetWorkload() == "" {
		return &rpc.FieldError{Field: "workload", Problem: "is required"}
	}
	if n := len(req.GetAmplifications()); n < 1 || n > maxLoads {
		return &rpc.FieldError{Field: "amplifications", Problem: fmt.Sprintf("want 1 to %d values, got %d", maxLoads, n)}
	}
	for i, a := range req.GetAmplifications() {
		if !(a > 0 && a <= maxAmplification) {
			return &rpc.FieldError{Field: fmt.Sprintf("amplifications[%d]", i), Problem: fmt.Sprintf("want a value above 0 and at most %v, got %v", maxAmplification, a)}
		}
	}
	if h := req.GetHoldSeconds(); h != 0 && !(h >= 1 && h <= maxHold) {
		return &rpc.FieldError{Field: "hold_seconds", Problem: fmt.Sprintf("want 1 to %v, got %v", maxHold, h)}
	}
	return nil
}

// GetExperiment implements ExperimentService.
func (s *Store) GetExperiment(_ context.Context, req *foreshadowv1.GetExperimentRequest) (*foreshadowv1.GetExperimentResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(req.GetExperimentId())
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.GetExperimentResponse{Experiment: clone(e)}, nil
}

// ListExperiments implements ExperimentService. A page token is the identity of the last experiment of the page before.
func (s *Store) ListExperiments(_ context.Context, req *foreshadowv1.ListExperimentsRequest) (*foreshadowv1.ListExperimentsResponse, error) {
	size := int(req.GetPageSize())
	switch {
	case size < 0 || size > maxPage:
		return nil, &rpc.FieldError{Field: "page_size", Problem: "want 0 to " + strconv.Itoa(maxPage) + ", got " + strconv.Itoa(size)}
	case size == 0:
		size = defaultPage
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := len(s.list)
	if token := req.GetPageToken(); token != "" {
		end = slices.IndexFunc(s.list, func(e *entry) bool { return e.experiment.GetExperimentId() == token })
		if end < 0 {
			return nil, &rpc.FieldError{Field: "page_token", Problem: "is not one that was given out, or too old"}
		}
	}
	resp := &foreshadowv1.ListExperimentsResponse{}
	for i := end - 1; i >= 0; i-- {
		e := s.list[i]
		if w := req.GetWorkload(); w != "" && w != e.experiment.GetWorkload() {
			continue
		}
		if len(resp.Experiments) == size {
			resp.NextPageToken = resp.Experiments[size-1].GetExperimentId()
			break
		}
		resp.Experiments = append(resp.Experiments, clone(e))
	}
	return resp, nil
}

// CancelExperiment implements ExperimentService; an experiment that has ended stays as it ended.
func (s *Store) CancelExperiment(_ context.Context, req *foreshadowv1.CancelExperimentRequest) (*foreshadowv1.CancelExperimentResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(req.GetExperimentId())
	if err != nil {
		return nil, err
	}
	s.end(e, foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED, "")
	return &foreshadowv1.CancelExperimentResponse{Experiment: clone(e)}, nil
}

func (s *Store) find(id string) (*entry, error) {
	for _, e := range s.list {
		if e.experiment.GetExperimentId() == id {
			return e, nil
		}
	}
	return nil, fmt.Errorf("experiment %q: %w", id, rpc.ErrNotFound)
}

func clone(e *entry) *foreshadowv1.Experiment { return proto.CloneOf(e.experiment) }
