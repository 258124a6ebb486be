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
	// appendTimeout bounds how long a caller waits for the log, to write and to read what was written.
	appendTimeout = 5 * time.Second
	// DefaultLease is how long who carries out an experiment may be silent before another takes over.
	DefaultLease = 30 * time.Second
)

// Log keeps experiments beyond the life of the process. All stores over one log read its records in the same order.
type Log interface {
	// Append returns once the experiment, as it would then stand, is durable. It tries until ctx ends. The record comes back by
	// Restore, to this store like to any other.
	Append(ctx context.Context, e *foreshadowv1.Experiment) error
}

// Options of a Store.
type Options struct {
	// Check returns production's rate in requests per second, 0 when only the runner knows it that will carry an experiment out, or
	// says why one on a workload cannot run now: an rpc.ErrNotFound when the workload is unknown, an rpc.ErrPrecondition when it
	// cannot be measured.
	Check func(workload string) (rate float64, err error)
	// Log keeps the experiments.
	Log Log
	// Runner is the identity of this run of the runner.
	Runner string
	// Lease is DefaultLease, but for tests.
	Lease time.Duration
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
	list     []*entry      // in the order of the log
	changed  chan struct{} // closed with each record
	begins   string        // change_id of the first record of an experiment that is being written here, until it is void
}

type entry struct {
	experiment *foreshadowv1.Experiment // replaced as a whole, never changed
	heard      time.Time                // when its last record was read
	held       *held                    // while it is carried out here
}

// NewStore returns an empty store, which answers once Recalled was called.
func NewStore(o Options) *Store {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	return &Store{o: o, changed: make(chan struct{})}
}

// Restore takes the next record of the log. It counts when it is the first to go on from how the experiment stands, and one that
// begins an experiment when none is running and none was begun by the same request before.
func (s *Store) Restore(e *foreshadowv1.Experiment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { close(s.changed); s.changed = make(chan struct{}) }()
	i := slices.IndexFunc(s.list, func(old *entry) bool { return old.experiment.GetExperimentId() == e.GetExperimentId() })
	if i < 0 && e.GetRevision() == 1 && (s.running() != nil || s.requested(e.GetWorkload(), e.GetRequestId()) != nil) {
		if e.GetChangeId() == s.begins {
			s.begins = ""
		}
		return // begun by somebody who did not know of another yet
	}
	if i < 0 {
		s.list = append(s.list, &entry{experiment: e, heard: s.o.Now()})
		s.forget()
		return
	}
	old := s.list[i]
	if e.GetRevision() != old.experiment.GetRevision()+1 {
		return // a copy, or what somebody made of it who did not know how it stands
	}
	old.experiment, old.heard = e, s.o.Now()
	if old.held != nil && (!isRunning(e) || e.GetRunner() != s.o.Runner) {
		old.held.stop()
		old.held = nil
	}
}

// Recalled says that all of the past was restored. What was running then goes on: here, once whoever carried it out has been silent
// for a lease.
func (s *Store) Recalled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recalled = true
	for _, e := range s.list {
		e.heard = s.o.Now()
	}
}

func isRunning(e *foreshadowv1.Experiment) bool {
	return e.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING
}

// running is the one that has not ended, or nil.
func (s *Store) running() *entry {
	for _, e := range s.list {
		if isRunning(e.experiment) {
			return e
		}
	}
	return nil
}

// requested is the one that a request began, or nil.
func (s *Store) requested(workload, request string) *entry {
	for _, e := range s.list {
		if request != "" && e.experiment.GetRequestId() == request && e.experiment.GetWorkload() == workload {
			return e
		}
	}
	return nil
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
	for {
		if e, err := s.known(req); e != nil || err != nil {
			return &foreshadowv1.CreateExperimentResponse{Experiment: e}, err
		}
		e, err := s.begin(ctx, req)
		if e != nil || err != nil {
			return &foreshadowv1.CreateExperimentResponse{Experiment: e}, err
		}
		// Another store has begun one meanwhile, which is known by now.
	}
}

// begin makes the experiment that is asked for; nil when another store was first to begin one.
func (s *Store) begin(ctx context.Context, req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.Experiment, error) {
	rate, err := s.o.Check(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	hold := req.GetHoldSeconds()
	if hold == 0 {
		hold = defaultHold
	}
	e := &foreshadowv1.Experiment{
		ExperimentId: uuid.NewString(), Workload: req.GetWorkload(), Amplifications: req.GetAmplifications(), HoldSeconds: hold,
		Matrix: proto.CloneOf(req.GetMatrix()), RequestId: req.GetRequestId(), ProductionRequestsPerSecond: rate, Revision: 1,
		State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING, CreateTime: timestamppb.New(s.o.Now()),
	}
	if first, err := s.record(ctx, e); err != nil || !first {
		return nil, err
	}
	return e, nil
}

// known is the experiment that an earlier call with the same request_id made, or an error when none can be made now.
func (s *Store) known(req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.Experiment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	if e := s.requested(req.GetWorkload(), req.GetRequestId()); e != nil {
		return e.experiment, nil
	}
	if e := s.running(); e != nil {
		return nil, fmt.Errorf("experiment %s is running: %w", e.experiment.GetExperimentId(), rpc.ErrExhausted)
	}
	return nil, nil
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
	if err == nil && e.held != nil {
		e.held.stop()
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, req.GetExperimentId(), func(x *foreshadowv1.Experiment) bool {
		x.State, x.CompleteTime = foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED, timestamppb.New(s.o.Now())
		return true
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &foreshadowv1.CancelExperimentResponse{Experiment: e.experiment}, nil
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
