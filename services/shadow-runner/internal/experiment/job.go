package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Job is one experiment to carry out, or the rest of one.
type Job struct {
	// ID names it.
	ID string
	// Held is how many loads were held before.
	Held int
	// Amplifications are the loads in turn that are left, as multiples of production's present rate per instance, on the
	// shadow as it is. Nothing with a matrix.
	Amplifications []float64
	// Matrix is what is tried; nil when it is amplifications.
	Matrix *foreshadowv1.ExperimentMatrix
	// Cells that are left, by configuration in the order of the matrix.
	Cells []Cell
	// Hold is how long each load counts.
	Hold time.Duration
	// UsedMinutes of the budget.
	UsedMinutes float64
	// Begun is when it was created.
	Begun time.Time
}

// Cell is one configuration under one load.
type Cell struct {
	Configuration *foreshadowv1.ExperimentConfiguration
	Load          *foreshadowv1.ExperimentLoad
	// Rate on the whole configuration, in requests per second; the mean of a shape.
	Rate float64
}

// Waiting reports whether an experiment on the workload waits to be carried out: because nobody has begun, or who carried it out has
// been silent for a lease.
func (s *Store) Waiting(workload string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free(workload) != nil
}

// Elsewhere reports whether an experiment on the workload is another runner's, or was until that fell silent less than a lease ago.
func (s *Store) Elsewhere(workload string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running()
	return e != nil && s.recalled && e.held == nil && e.experiment.GetWorkload() == workload && s.free(workload) == nil
}

// Stranded returns the workload of an experiment that nobody carries out, was created at least so long ago, and is on a workload that
// is not known: it would be running for ever, and only one may. False when there is none.
func (s *Store) Stranded(known func(workload string) bool, after time.Duration) (workload string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running()
	if e == nil || known(e.experiment.GetWorkload()) || s.free(e.experiment.GetWorkload()) == nil {
		return "", false
	}
	return e.experiment.GetWorkload(), s.o.Now().Sub(e.experiment.GetCreateTime().AsTime()) >= after
}

// free is called with mu held.
func (s *Store) free(workload string) *entry {
	e := s.running()
	if e == nil || !s.recalled || e.held != nil || e.experiment.GetWorkload() != workload {
		return nil
	}
	if r := e.experiment.GetRunner(); r != "" && r != s.o.Runner && s.o.Now().Sub(e.heard) < s.o.Lease {
		return nil
	}
	return e
}

// Take claims the experiment on the workload that waits to be carried out, and returns it with a context that ends with ctx, when
// the experiment ends, when another carries it out, or when the claim cannot be renewed in time; false when there is none, or
// another was first. The caller ends it with Finish or Release. What was recorded before, here or by another, is not part of it.
func (s *Store) Take(ctx context.Context, workload string) (Job, context.Context, bool) {
	s.mu.Lock()
	e := s.free(workload)
	if e == nil {
		s.mu.Unlock()
		return Job{}, nil, false
	}
	id := e.experiment.GetExperimentId()
	s.mu.Unlock()
	began := s.o.Now()
	if err := s.claim(ctx, id); err != nil {
		return Job{}, nil, false // it still waits
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := e.experiment
	if !isRunning(x) || x.GetRunner() != s.o.Runner {
		return Job{}, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	h := newHeld(cancel, s.o.Lease)
	h.renewed(began, s.o.Now())
	e.held = h
	context.AfterFunc(ctx, func() { s.drop(e, h) })
	j := Job{
		ID: x.GetExperimentId(), Matrix: x.GetMatrix(), Cells: cellsLeft(x), UsedMinutes: x.GetUsedMinutes(), Held: len(x.GetResults()),
		Hold: time.Duration(x.GetHoldSeconds() * float64(time.Second)), Begun: x.GetCreateTime().AsTime(),
	}
	if j.Held < len(x.GetAmplifications()) {
		j.Amplifications = x.GetAmplifications()[j.Held:]
	}
	return j, ctx, true
}

// claim makes this runner the one that carries the experiment out, unless another was first. Production's rate is that of when an
// experiment was created, or else, where that runner did not know it, of when it is first taken.
func (s *Store) claim(ctx context.Context, id string) error {
	return s.change(ctx, id, func(x *foreshadowv1.Experiment) bool {
		if x.GetProductionRequestsPerSecond() == 0 {
			x.ProductionRequestsPerSecond, _ = s.o.Check(x.GetWorkload()) // of one that cannot run, nothing is held
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.free(x.GetWorkload()) == nil { // somebody took it while this waited for its turn
			return false
		}
		x.Runner = s.o.Runner
		return true
	})
}

// drop forgets that the experiment is carried out here.
func (s *Store) drop(e *entry, h *held) {
	h.last.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.held == h {
		e.held = nil
	}
}

// Renew tells the others that what is carried out here still is. It is called a few times in a lease.
func (s *Store) Renew(ctx context.Context) error {
	s.mu.Lock()
	id := ""
	if e := s.running(); e != nil && e.held != nil {
		id = e.experiment.GetExperimentId()
	}
	s.mu.Unlock()
	if id == "" {
		return nil
	}
	return s.mine(ctx, id, func(*foreshadowv1.Experiment) bool { return true })
}

// Release lets another go on at once, or this runner when it is back. It does not wait to read that.
func (s *Store) Release(ctx context.Context, id string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	e, err := s.find(id)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	now := e.experiment
	s.mu.Unlock()
	if !isRunning(now) || now.GetRunner() != s.o.Runner {
		return nil
	}
	next := proto.CloneOf(now)
	next.Revision++
	next.Runner, next.ChangeId = "", uuid.NewString()
	if err := s.o.Log.Append(ctx, next); err != nil {
		return fmt.Errorf("release experiment: %w", err)
	}
	return nil
}

// mine is change of what this runner carries out; of all else nothing is recorded.
func (s *Store) mine(ctx context.Context, id string, edit func(*foreshadowv1.Experiment) bool) error {
	return s.change(ctx, id, func(x *foreshadowv1.Experiment) bool { return x.GetRunner() == s.o.Runner && edit(x) })
}

// cellsLeft are those of the matrix without a cell.
func cellsLeft(x *foreshadowv1.Experiment) []Cell {
	done := map[[2]string]bool{}
	for _, c := range x.GetCells() {
		done[[2]string{c.GetConfiguration(), c.GetLoad()}] = true
	}
	var out []Cell
	for _, c := range x.GetMatrix().GetConfigurations() {
		for _, l := range x.GetMatrix().GetLoads() {
			if !done[[2]string{c.GetName(), l.GetName()}] {
				out = append(out, Cell{Configuration: c, Load: l, Rate: rateOf(l, x.GetProductionRequestsPerSecond())})
			}
		}
	}
	return out
}

func rateOf(l *foreshadowv1.ExperimentLoad, production float64) float64 {
	switch shape := l.GetShapePerSecond(); {
	case len(shape) > 0:
		sum := 0.0
		for _, r := range shape {
			sum += r
		}
		return sum / float64(len(shape))
	case l.GetAmplification() > 0:
		return l.GetAmplification() * production
	}
	return l.GetRequestsPerSecond()
}

// Record adds the result of one load, the one after so many others; of an experiment that has ended in the meantime, or is another's
// now, it is left out. A load that is recorded already stays as it is: none is counted twice.
func (s *Store) Record(ctx context.Context, id string, others int, step *foreshadowv1.CapacityStep) error {
	return s.mine(ctx, id, func(x *foreshadowv1.Experiment) bool {
		if len(x.GetResults()) != others {
			return false
		}
		x.Results = append(x.Results, step)
		return true
	})
}

// RecordCell adds what came of one cell, and the minutes it took, like Record.
func (s *Store) RecordCell(ctx context.Context, id string, cell *foreshadowv1.ExperimentCell, minutes float64) error {
	return s.mine(ctx, id, func(x *foreshadowv1.Experiment) bool {
		for _, c := range x.GetCells() {
			if c.GetConfiguration() == cell.GetConfiguration() && c.GetLoad() == cell.GetLoad() {
				return false
			}
		}
		cell.CompleteTime = timestamppb.New(s.o.Now())
		x.Cells, x.UsedMinutes = append(x.Cells, cell), x.GetUsedMinutes()+minutes
		return true
	})
}

// Finish ends a job and returns the experiment as it ended; an empty failure means that all loads were held. It is a nil
// experiment when the job was cancelled before, or is another's now.
func (s *Store) Finish(ctx context.Context, id, failure, cheapest string) (ended *foreshadowv1.Experiment, err error) {
	err = s.mine(ctx, id, func(x *foreshadowv1.Experiment) bool {
		x.State = foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED
		if failure != "" {
			x.State = foreshadowv1.ExperimentState_EXPERIMENT_STATE_FAILED
		}
		x.Failure, x.Cheapest, x.CompleteTime = failure, cheapest, timestamppb.New(s.o.Now())
		return true
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(id)
	if err != nil || isRunning(e.experiment) || e.experiment.GetRunner() != s.o.Runner || e.experiment.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED {
		return nil, err
	}
	return e.experiment, nil
}

// Cells are those recorded so far.
func (s *Store) Cells(id string) []*foreshadowv1.ExperimentCell {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, err := s.find(id); err == nil {
		return e.experiment.GetCells()
	}
	return nil
}
