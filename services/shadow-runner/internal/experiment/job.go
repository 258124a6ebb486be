package experiment

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Take returns the experiment on the workload that waits to be carried out, once, and a context that ends with ctx or when
// the experiment is cancelled; false when there is none. The caller ends it with Finish.
func (s *Store) Take(ctx context.Context, workload string) (Job, context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running
	if e == nil || e.taken || e.experiment.GetWorkload() != workload {
		return Job{}, nil, false
	}
	e.taken = true
	ctx, e.cancel = context.WithCancel(ctx)
	return Job{
		ID: e.experiment.GetExperimentId(), Amplifications: e.experiment.GetAmplifications(),
		Hold: time.Duration(e.experiment.GetHoldSeconds() * float64(time.Second)),
	}, ctx, true
}

// Record adds the result of one load; of an experiment that was cancelled in the meantime it is left out.
func (s *Store) Record(id string, step *foreshadowv1.CapacityStep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil && s.running.experiment.GetExperimentId() == id {
		s.running.experiment.Results = append(s.running.experiment.Results, step)
	}
}

// Finish ends a job; an empty failure means that all loads were held.
func (s *Store) Finish(id, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(id)
	if err != nil {
		return // so many came after it that it was forgotten
	}
	state := foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED
	if failure != "" {
		state = foreshadowv1.ExperimentState_EXPERIMENT_STATE_FAILED
	}
	s.end(e, state, failure)
}

// end closes a running experiment, once.
func (s *Store) end(e *entry, state foreshadowv1.ExperimentState, failure string) {
	if e.cancel != nil {
		e.cancel()
	}
	if s.running != e {
		return
	}
	s.running = nil
	e.experiment.State, e.experiment.Failure, e.experiment.CompleteTime = state, failure, timestamppb.New(s.now())
}
