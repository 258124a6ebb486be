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
	defaultPage = 100
	maxPage     = 1000
	// kept bounds the memory: the oldest experiment beyond it is forgotten.
	kept = 1000
	// appendTimeout bounds how long a caller waits for the log.
	appendTimeout = 5 * time.Second
)

// Log keeps experiments beyond the life of the process.
type Log interface {
	// Append returns once the experiment, as it then stands, is durable. It tries until ctx ends.
	Append(ctx context.Context, e *foreshadowv1.Experiment) error
}

// Options of a Store.
type Options struct {
	// Check returns production's rate in requests per second, or says why an experiment on a workload cannot run now: an
	// rpc.ErrNotFound when the workload is unknown, an rpc.ErrPrecondition when it cannot be measured.
	Check func(workload string) (rate float64, err error)
	// Log keeps the experiments.
	Log Log
	// Now is the clock.
	Now func() time.Time
}

// Store is safe for concurrent use.
type Store struct {
	foreshadowv1.UnimplementedExperimentServiceServer

	o Options
	// writing is held by whoever changes an experiment, over the wait for the log; mu is only held to look, so that a broker
	// that is away keeps nobody from reading.
	writing sync.Mutex

	mu       sync.Mutex
	recalled bool
	list     []*entry // oldest first
	running  *entry
}

type entry struct {
	experiment *foreshadowv1.Experiment // replaced as a whole, never changed
	taken      bool
	cancel     context.CancelFunc
}

// NewStore returns an empty store, which answers once Recalled was called.
func NewStore(o Options) *Store { return &Store{o: o} }

// Restore adds an experiment as an earlier run left it. Of several revisions of one the highest wins, in any order.
func (s *Store) Restore(e *foreshadowv1.Experiment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.list {
		if old.experiment.GetExperimentId() == e.GetExperimentId() {
			if e.GetRevision() > old.experiment.GetRevision() {
				old.experiment = e
			}
			return
		}
	}
	s.list = append(s.list, &entry{experiment: e})
	s.forget()
}

// Recalled says that all of the past was restored. What was running then goes on.
func (s *Store) Recalled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.list, func(a, b *entry) int {
		return a.experiment.GetCreateTime().AsTime().Compare(b.experiment.GetCreateTime().AsTime())
	})
	s.recalled = true
	for _, e := range s.list {
		if e.experiment.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
			s.running = e
		}
	}
}

func (s *Store) forget() { s.list = slices.Delete(s.list, 0, max(0, len(s.list)-kept)) }

// ready is an error until the past is known: an experiment must not be made twice.
func (s *Store) ready() error {
	if !s.recalled {
		return fmt.Errorf("the experiments of earlier runs are not known yet: %w", rpc.ErrUnavailable)
	}
	return nil
}

// CreateExperiment implements ExperimentService. What it returns is durable.
func (s *Store) CreateExperiment(ctx context.Context, req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.CreateExperimentResponse, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if e, err := s.known(req); e != nil || err != nil {
		return &foreshadowv1.CreateExperimentResponse{Experiment: e}, err
	}
	rate, err := s.o.Check(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	hold := req.GetHoldSeconds()
	if hold == 0 {
		hold = defaultHold
	}
	e := &entry{experiment: &foreshadowv1.Experiment{
		ExperimentId: uuid.NewString(), Workload: req.GetWorkload(), Amplifications: req.GetAmplifications(), HoldSeconds: hold,
		Matrix: proto.CloneOf(req.GetMatrix()), RequestId: req.GetRequestId(), ProductionRequestsPerSecond: rate, Revision: 1,
		State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING, CreateTime: timestamppb.New(s.o.Now()),
	}}
	if err := s.log(ctx, e.experiment); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, e)
	s.forget()
	s.running = e
	return &foreshadowv1.CreateExperimentResponse{Experiment: e.experiment}, nil
}

// known is the experiment that an earlier call with the same request_id made, or an error when none can be made now.
func (s *Store) known(req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.Experiment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	for _, e := range s.list {
		if id := req.GetRequestId(); id != "" && e.experiment.GetRequestId() == id && e.experiment.GetWorkload() == req.GetWorkload() {
			return e.experiment, nil
		}
	}
	if s.running != nil {
		return nil, fmt.Errorf("experiment %s is running: %w", s.running.experiment.GetExperimentId(), rpc.ErrExhausted)
	}
	return nil, nil
}

func (s *Store) log(ctx context.Context, e *foreshadowv1.Experiment) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if err := s.o.Log.Append(ctx, e); err != nil {
		return fmt.Errorf("record experiment: %w: %w", rpc.ErrUnavailable, err)
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
	return &foreshadowv1.GetExperimentResponse{Experiment: e.experiment}, nil
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
	if err := s.ready(); err != nil {
		return nil, err
	}
	end := len(s.list)
	if token := req.GetPageToken(); token != "" {
		end = slices.IndexFunc(s.list, func(e *entry) bool { return e.experiment.GetExperimentId() == token })
		if end < 0 {
			return nil, &rpc.FieldError{Field: "page_token", Problem: "is not one that was given out, or too old"}
		}
	}
	resp := &foreshadowv1.ListExperimentsResponse{}
	for i := end - 1; i >= 0; i-- {
		e := s.list[i].experiment
		if w := req.GetWorkload(); w != "" && w != e.GetWorkload() {
			continue
		}
		if len(resp.Experiments) == size {
			resp.NextPageToken = resp.Experiments[size-1].GetExperimentId()
			break
		}
		resp.Experiments = append(resp.Experiments, e)
	}
	return resp, nil
}

// CancelExperiment implements ExperimentService; an experiment that has ended stays as it ended. The load ends at once, also
// when that cannot be recorded: the caller then learns that it may go on after a restart.
func (s *Store) CancelExperiment(ctx context.Context, req *foreshadowv1.CancelExperimentRequest) (*foreshadowv1.CancelExperimentResponse, error) {
	s.mu.Lock()
	e, err := s.find(req.GetExperimentId())
	if err == nil && e.cancel != nil {
		e.cancel()
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, req.GetExperimentId(), func(x *foreshadowv1.Experiment) {
		x.State, x.CompleteTime = foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED, timestamppb.New(s.o.Now())
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &foreshadowv1.CancelExperimentResponse{Experiment: e.experiment}, nil
}

// change edits a copy of an experiment that is running, and the experiment itself once the copy is durable. One that has
// ended stays as it is.
func (s *Store) change(ctx context.Context, id string, edit func(*foreshadowv1.Experiment)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	e := s.running
	s.mu.Unlock()
	if e == nil || e.experiment.GetExperimentId() != id {
		return nil
	}
	next := proto.CloneOf(e.experiment)
	edit(next)
	next.Revision++
	if err := s.log(ctx, next); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.experiment = next
	if next.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
		s.running = nil
		if e.cancel != nil {
			e.cancel()
		}
	}
	return nil
}

func (s *Store) find(id string) (*entry, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	for _, e := range s.list {
		if e.experiment.GetExperimentId() == id {
			return e, nil
		}
	}
	return nil, fmt.Errorf("experiment %q: %w", id, rpc.ErrNotFound)
}
