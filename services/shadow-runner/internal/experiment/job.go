package experiment

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Job is one experiment to carry out, or the rest of one.
type Job struct {
	// ID names it.
	ID string
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

// Waiting reports whether an experiment on the workload waits to be carried out, and since when.
func (s *Store) Waiting(workload string) (since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running
	if e == nil || !s.recalled || e.taken || e.experiment.GetWorkload() != workload {
		return time.Time{}, false
	}
	return e.experiment.GetCreateTime().AsTime(), true
}

// Take returns the experiment on the workload that waits to be carried out, once, and a context that ends with ctx or when
// the experiment is cancelled; false when there is none. The caller ends it with Finish. What an earlier run of the runner
// has recorded is not part of it.
func (s *Store) Take(ctx context.Context, workload string) (Job, context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.running
	if e == nil || !s.recalled || e.taken || e.experiment.GetWorkload() != workload {
		return Job{}, nil, false
	}
	e.taken = true
	ctx, e.cancel = context.WithCancel(ctx)
	x := e.experiment
	j := Job{
		ID: x.GetExperimentId(), Matrix: x.GetMatrix(), Cells: cellsLeft(x), UsedMinutes: x.GetUsedMinutes(),
		Hold: time.Duration(x.GetHoldSeconds() * float64(time.Second)), Begun: x.GetCreateTime().AsTime(),
	}
	if done := len(x.GetResults()); done < len(x.GetAmplifications()) {
		j.Amplifications = x.GetAmplifications()[done:]
	}
	return j, ctx, true
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

// Record adds the result of one load; of an experiment that was cancelled in the meantime it is left out.
func (s *Store) Record(ctx context.Context, id string, step *foreshadowv1.CapacityStep) error {
	return s.change(ctx, id, func(x *foreshadowv1.Experiment) { x.Results = append(x.Results, step) })
}

// RecordCell adds what came of one cell, and the minutes it took. A cell that is recorded already stays as it is: none is
// counted twice.
func (s *Store) RecordCell(ctx context.Context, id string, cell *foreshadowv1.ExperimentCell, minutes float64) error {
	return s.change(ctx, id, func(x *foreshadowv1.Experiment) {
		for _, c := range x.GetCells() {
			if c.GetConfiguration() == cell.GetConfiguration() && c.GetLoad() == cell.GetLoad() {
				return
			}
		}
		cell.CompleteTime = timestamppb.New(s.o.Now())
		x.Cells, x.UsedMinutes = append(x.Cells, cell), x.GetUsedMinutes()+minutes
	})
}

// Finish ends a job and returns the experiment as it ended; an empty failure means that all loads were held. It is a nil
// experiment when the job was cancelled before.
func (s *Store) Finish(ctx context.Context, id, failure, cheapest string) (ended *foreshadowv1.Experiment, err error) {
	err = s.change(ctx, id, func(x *foreshadowv1.Experiment) {
		x.State = foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED
		if failure != "" {
			x.State = foreshadowv1.ExperimentState_EXPERIMENT_STATE_FAILED
		}
		x.Failure, x.Cheapest, x.CompleteTime = failure, cheapest, timestamppb.New(s.o.Now())
		ended = x
	})
	return ended, err
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
