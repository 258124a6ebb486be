package predictor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

const (
	historyPage    = 10000
	historyTimeout = 30 * time.Second
	retryEvery     = time.Second
	// reloadEvery bounds how often old windows that keep coming make history be read anew.
	reloadEvery = 5 * time.Second
)

// history reads the past of one workload.
type history struct {
	client foreshadowv1.HistoryServiceClient
	now    func() time.Time
}

// loader brings the past into one model: at the start until it succeeds, and again when windows of the past have come.
type loader struct {
	history  history
	model    *model.Model
	workload workload.Workload
	admin    *telemetry.Admin
	log      *slog.Logger

	due    time.Time // zero: at once
	loaded bool
	said   bool
}

func (l *loader) again() {
	if l.loaded {
		l.loaded = false
		l.due = l.history.now().Add(reloadEvery)
	}
}

// load reads history when it is due. While it cannot be read, decisions go on with what is known live.
func (l *loader) load(ctx context.Context, now time.Time) {
	if l.loaded || now.Before(l.due) {
		return
	}
	part := "history of " + l.workload.Name
	n, err := l.read(ctx, now)
	if err != nil {
		l.due = now.Add(retryEvery)
		l.admin.NotReady(part, err.Error())
		if !l.said {
			l.said = true
			l.log.Warn("history is away, deciding without it", "workload", l.workload.Name, "err", err)
		}
		return
	}
	l.loaded, l.said = true, false
	l.admin.Ready(part)
	l.log.Info("history loaded", "workload", l.workload.Name, "steps", n)
}

func (l *loader) read(ctx context.Context, now time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	steps, err := l.steps(ctx, now)
	if err != nil {
		return 0, err
	}
	if err := l.model.LoadHistory(steps); err != nil {
		return 0, err
	}
	return len(steps), l.facts(ctx)
}

// steps reads the demand of production, merged into the forecast's steps; the newest, incomplete step is left to the live
// part.
func (l *loader) steps(ctx context.Context, now time.Time) ([]demand.Step, error) {
	step := model.Step(l.workload.Policy)
	req := &foreshadowv1.QueryWindowsRequest{
		Workload: l.workload.Name, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
		Kind:      foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC,
		StartTime: timestamppb.New(now.Add(-l.workload.Policy.History).Truncate(step)),
		EndTime:   timestamppb.New(now.Truncate(step).Add(-step)),
		// Windows as wide as the step come merged by the database.
		StepSeconds: step.Seconds(), TotalsOnly: true, PageSize: historyPage,
	}
	var out []demand.Step
	for {
		resp, err := l.history.client.QueryWindows(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("query windows: %w", err)
		}
		for _, w := range resp.GetWindows() {
			var requests uint64
			for _, t := range w.GetTraffic().GetStrata() {
				requests += t.GetRequests()
			}
			if w.GetDurationSeconds() > 0 {
				out = append(out, demand.Step{Start: w.GetStartTime().AsTime(), PerSecond: float64(requests) / w.GetDurationSeconds()})
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// facts reads what else is known: the newest capacity, the start-up times, and the last generation.
func (l *loader) facts(ctx context.Context) error {
	name := l.workload.Name
	measured, err := l.history.client.QueryCapacityMeasurements(ctx, &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: name, PageSize: 20})
	if err != nil {
		return fmt.Errorf("query capacity measurements: %w", err)
	}
	for _, c := range measured.GetMeasurements() {
		l.model.ObserveCapacity(c)
	}
	actions, err := l.history.client.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{Workload: name, PageSize: 20})
	if err != nil {
		return fmt.Errorf("query scaling actions: %w", err)
	}
	for _, a := range actions.GetActions() {
		l.model.ObserveAction(a)
	}
	made, err := l.history.client.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{Workload: name, PageSize: 1})
	if err != nil {
		return fmt.Errorf("query recommendations: %w", err)
	}
	for _, r := range made.GetRecommendations() {
		l.model.ObserveGeneration(r.GetGeneration())
	}
	return nil
}
