package shadowrunner

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

const (
	// patience is how long an experiment waits for traffic and a shadow to be there, again after a restart.
	patience = 10 * time.Minute
	// persistRetry is the time between two tries to record what was held.
	persistRetry = time.Second
)

// ExperimentFault is one thing that is wrong with a request for an experiment.
type ExperimentFault = experiment.Fault

// ExperimentFaults lists all that is wrong with a request before it is sent, by the names of its fields; the service itself
// answers with the first.
func ExperimentFaults(req *foreshadowv1.CreateExperimentRequest) []ExperimentFault {
	return experiment.Faults(req)
}

// experimentable returns production's rate in requests per second, or says why an experiment cannot run now.
func (l *lane) experimentable() (rate float64, err error) {
	rate, known := l.reservoir.Rate(time.Now())
	if _, each := l.productionRate(); !known || !each || l.reservoir.Len() == 0 {
		return 0, fmt.Errorf("workload %q: no recent traffic of production is known: %w", l.workload.Name, rpc.ErrPrecondition)
	}
	return rate, l.staged()
}

// staged is an error when the shadow is not there.
func (l *lane) staged() error {
	if len(l.fleet.Ready()) == 0 {
		return fmt.Errorf("workload %q: the shadow has no ready instance (shadow_instances.min: 1 keeps it awake when there is nothing to measure): %w", l.workload.Name, rpc.ErrPrecondition)
	}
	return nil
}

// runExperiment carries out the experiment that waits, if one does and can; false when none was.
func (l *lane) runExperiment(ctx context.Context) bool {
	if !l.experiments.Waiting(l.workload.Name) {
		l.waiting = time.Time{}
		return false
	}
	if l.waiting.IsZero() {
		l.waiting = time.Now()
	}
	_, missing := l.experimentable()
	if missing != nil && time.Since(l.waiting) < patience {
		return false
	}
	job, jobCtx, ok := l.experiments.Take(ctx, l.workload.Name)
	if !ok {
		return false
	}
	defer l.release(ctx, job)
	l.log.Info("experiment started", "experiment", job.ID, "cells", len(job.Cells)+len(job.Amplifications))
	failure := ""
	switch {
	case missing != nil:
		failure = missing.Error()
	case job.Matrix != nil:
		if l.matrix(jobCtx, job) != nil {
			return true // cancelled, lost to another runner, or this one is stopping
		}
	default:
		if failure = l.amplify(jobCtx, job); jobCtx.Err() != nil {
			return true
		}
	}
	l.finish(ctx, job, failure)
	return true
}

// releaseTimeout bounds how long a runner that stops, or has lost the seat, waits for its claim on an experiment to be given up.
const releaseTimeout = 2 * time.Second

// release lets another runner go on at once, when this one stops or has lost the seat.
func (l *lane) release(ctx context.Context, job experiment.Job) {
	if ctx.Err() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := l.experiments.Release(ctx, job.ID); err != nil {
		l.log.Warn("experiment left to its lease", "experiment", job.ID, "err", err)
	}
}

func (l *lane) finish(ctx context.Context, job experiment.Job, failure string) {
	cheapest := experiment.Cheapest(job.Matrix, l.experiments.Cells(job.ID), func(c *foreshadowv1.ExperimentConfiguration) float64 {
		return experiment.PricePerHour(l.workload.Prices, l.workload.Production, c)
	})
	var ended *foreshadowv1.Experiment
	if l.persist(ctx, func(ctx context.Context) (err error) {
		ended, err = l.experiments.Finish(ctx, job.ID, failure, cheapest)
		return err
	}) != nil || ended == nil {
		return
	}
	l.log.Info("experiment ended", "experiment", job.ID, "reason", failure, "cheapest", cheapest)
	for _, m := range simulations(l.workload, ended, l.workload.Replay.CapacityTTL) {
		l.publish(m)
	}
}

// persist tries until what was held is durable, or ctx ends: it must not be held twice because the broker was away.
func (l *lane) persist(ctx context.Context, write func(ctx context.Context) error) error {
	for {
		err := write(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		l.log.Warn("experiment waits to be recorded", "err", err)
		if err := pace.Timer(ctx, time.Now().Add(persistRetry)); err != nil {
			return err
		}
	}
}

// amplify holds the loads of a job without a matrix and returns why it ended early, or nothing.
func (l *lane) amplify(ctx context.Context, job experiment.Job) (failure string) {
	rate, known := l.productionRate()
	mix := l.reservoir.Mix()
	t, ok := l.newTenure(ctx)
	if !ok {
		return "the shadow has no ready instance"
	}
	defer func() { t.release() }()
	if !known || mix == nil {
		return "no recent traffic of production is known"
	}
	for i, a := range job.Amplifications {
		level := probe.Level{Rate: a * rate, Settle: l.workload.Replay.SettleDuration, Hold: job.Hold}
		step, failure := l.amplified(ctx, t, mix, level)
		if failure != "" {
			return failure
		}
		if l.persist(ctx, func(ctx context.Context) error {
			return l.experiments.Record(ctx, job.ID, job.Held+i, measure.Step(step))
		}) != nil {
			return "the runner was stopped"
		}
	}
	return ""
}

// amplified is heldTwice on the shadow's own.
func (l *lane) amplified(ctx context.Context, t *tenure, mix *reservoir.Mix, level probe.Level) (step probe.Step, failure string) {
	for died := ""; ; died = t.instance.ID {
		if _, gone := t.left(); gone || died != "" {
			if _, ok := t.replace(ctx); !ok {
				return step, diedOnce(died, "the instance "+t.instance.ID+" went away, and none like it took its place")
			}
		}
		step, failure = l.hold(ctx, l.holder, l.own(t.instance), mix, level)
		switch {
		case failure != "":
			return step, diedOnce(died, failure)
		case !step.Sudden:
			return step, ""
		case died != "":
			return step.Lost(), ""
		}
	}
}

// holdAttempts at one load of an experiment, when the generator could not keep its schedule: a busy machine has its moments.
const holdAttempts = 3

// hold holds one load of an experiment; the failure says why there is no result. A step that is Sudden is none yet: the instance died
// of it, or had an accident.
func (l *lane) hold(ctx context.Context, h *measure.Holder, instance stagedInstance, mix *reservoir.Mix, level probe.Level) (step probe.Step, failure string) {
	for range holdAttempts {
		var at time.Time
		var gone bool
		var err error
		left := func() (time.Time, bool) { return instance.left(ctx) }
		step, at, gone, err = h.Try(ctx, instance.Instance, mix, level, l.slo(), left)
		switch lost := gone && !at.IsZero(); {
		case err != nil:
			return step, "the runner was stopped" // a cancelled experiment has ended already and stays cancelled
		case lost && step.Sudden:
			return step, ""
		case lost && step.Valid && step.Alive && step.Missed():
			return step.Lost(), ""
		case lost && step.Requests > 0 && !step.Valid:
			return step, "the instance " + instance.ID + " went away while the load generator lagged"
		case gone:
			return step, "the instance " + instance.ID + " went away"
		case step.Requests == 0:
			return step, fmt.Sprintf("%.2f requests/s for %v is not one request", level.Rate, level.Hold)
		case step.Silent && !l.alive(ctx, h, instance, mix):
			if step.Valid && step.Alive { // it hung only then, and dies when its platform gives it up
				at, _, err = h.AwaitLoss(ctx, left)
				step.Sudden = err == nil && !at.IsZero()
			}
			if step.Sudden {
				return step, ""
			}
			return step, "the instance " + instance.ID + " is down or hangs"
		case step.Valid:
			return step, ""
		}
	}
	return step, fmt.Sprintf("the load generator was the bottleneck at %.2f requests/s: it lagged %.0f ms", level.Rate, step.MaxLag*1e3)
}

// alive tells an instance that was only flooded from one that answers nothing any more.
func (l *lane) alive(ctx context.Context, h *measure.Holder, instance stagedInstance, mix *reservoir.Mix) bool {
	const few, long = 4, 2 * time.Second
	step, err := h.Hold(ctx, instance.Instance, mix, probe.Level{Rate: few, Hold: long}, l.slo())
	return err == nil && !step.Silent
}

func expire(e *foreshadowv1.Experiment, ttl time.Duration) *timestamppb.Timestamp {
	return timestamppb.New(e.GetCompleteTime().AsTime().Add(ttl))
}
