package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/demo/internal/report"
	"github.com/foreshadow/foreshadow/services/stack"
	"github.com/foreshadow/foreshadow/services/stack/audit"
)

// collect waits until nothing is pending anywhere, and then reads what every part says of itself, and the topic of
// observations, which says it independently.
func (w *watcher) collect(ctx context.Context, begin time.Time, length time.Duration) (report.Evidence, error) {
	e := report.Evidence{Begin: begin}
	// Windows from here on may still be written to; they are left out on both sides.
	cutoff := time.Now().Truncate(time.Second).Add(time.Second)
	select {
	case <-time.After(time.Until(cutoff.Add(2 * time.Second))):
	case <-ctx.Done():
		return e, ctx.Err()
	}
	admins := map[string]string{}
	for _, name := range []string{stack.Replicator, stack.ShadowRunner, stack.Aggregator, stack.Predictor, stack.Provisioner} {
		admins[name] = w.demo.stack.Admin(name)
	}
	var err error
	if e.Ledgers, err = audit.Rest(ctx, admins); err != nil {
		return e, err
	}
	broker := kafka.Default()
	broker.Brokers = []string{w.demo.stack.Listen(stack.Broker)}
	if e.Sent, err = audit.Sent(ctx, broker, workloadName, cutoff); err != nil {
		return e, err
	}
	if e.Stored, err = audit.Stored(ctx, w.history, workloadName, w.demo.clock.historyStart().Add(-time.Minute), cutoff); err != nil {
		return e, err
	}
	e.Usage, err = audit.Query(ctx, w.history, &foreshadowv1.QueryWindowsRequest{
		Workload: workloadName, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
		Kind: foreshadowv1.WindowKind_WINDOW_KIND_USAGE, StartTime: timestamppb.New(begin), EndTime: timestamppb.New(begin.Add(length)),
	})
	if err != nil {
		return e, err
	}
	return e, w.facts(ctx, &e, begin)
}

// facts reads recommendations, actions and the newest capacity.
func (w *watcher) facts(ctx context.Context, e *report.Evidence, begin time.Time) error {
	for token := ""; ; {
		resp, err := w.history.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{
			Workload: workloadName, PageSize: 1000, PageToken: token,
		})
		if err != nil {
			return fmt.Errorf("query recommendations: %w", err)
		}
		e.Recommendations = append(e.Recommendations, resp.GetRecommendations()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.Reverse(e.Recommendations)
	for token := ""; ; {
		resp, err := w.history.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{
			Workload: workloadName, PageSize: 1000, PageToken: token,
		})
		if err != nil {
			return fmt.Errorf("query actions: %w", err)
		}
		e.Actions = append(e.Actions, resp.GetActions()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.Reverse(e.Actions)
	e.Actions = slices.DeleteFunc(e.Actions, func(a *foreshadowv1.ScalingApplied) bool { return a.GetCreateTime().AsTime().Before(begin) })
	measured, err := w.history.QueryCapacityMeasurements(ctx, &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: workloadName})
	if err != nil {
		return fmt.Errorf("query capacity: %w", err)
	}
	for _, c := range measured.GetMeasurements() {
		if c.GetValid() && e.Capacity == nil {
			e.Capacity = c
		}
	}
	return nil
}
