package predictor

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

const (
	historyPage    = 10000
	factsPage      = 100
	factsPages     = 10
	historyTimeout = 30 * time.Second
)

// history reads the past of one workload from the HistoryService.
type history struct {
	conn     *grpc.ClientConn
	workload workload.Workload
	now      func() time.Time
	// begun is when the live part began: what history holds of later came live, too.
	begun time.Time
}

// read brings the past into the model and returns how many steps of demand it knows.
func (h history) read(ctx context.Context, m *model.Model) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	// gRPC would wait up to two minutes before it dials a server again that was away for long.
	h.conn.ResetConnectBackoff()
	if err := h.facts(ctx, m); err != nil {
		return 0, fmt.Errorf("read history from %s: %w", h.conn.Target(), err)
	}
	steps, err := h.steps(ctx)
	if err != nil {
		return 0, fmt.Errorf("read history from %s: %w", h.conn.Target(), err)
	}
	return len(steps), m.LoadHistory(steps)
}

// steps reads the demand of production, merged into decision intervals, and gathers them to the forecast's steps; the newest,
// incomplete step is left to the live part.
func (h history) steps(ctx context.Context) ([]demand.Step, error) {
	step, part, now := model.Step(h.workload.Policy), h.workload.Policy.Interval, h.now()
	req := &foreshadowv1.QueryWindowsRequest{
		Workload: h.workload.Name, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
		Kind:        foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC,
		StartTime:   timestamppb.New(metric.WindowStart(now.Add(-h.workload.Policy.History), step)),
		EndTime:     timestamppb.New(metric.WindowStart(now, step).Add(-step)),
		StepSeconds: part.Seconds(), TotalsOnly: true, PageSize: historyPage,
	}
	client := foreshadowv1.NewHistoryServiceClient(h.conn)
	var out []demand.Step
	var open time.Time // of the tally
	tally := demand.NewTally(open, step, part)
	gather := func() {
		if s, known := tally.Step(); known {
			out = append(out, s)
		}
	}
	for {
		resp, err := client.QueryWindows(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("query windows: %w", err)
		}
		for _, w := range resp.GetWindows() {
			var requests float64
			for _, t := range w.GetTraffic().GetStrata() {
				requests += float64(t.GetRequests())
			}
			at := w.GetStartTime().AsTime()
			if start := metric.WindowStart(at, step); !start.Equal(open) {
				gather()
				open, tally = start, demand.NewTally(start, step, part)
			}
			tally.Add(at, time.Duration(w.GetDurationSeconds()*float64(time.Second)), requests)
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			gather()
			return out, nil
		}
	}
}

// facts reads what else is known: the newest capacity, the start-up times, and the last generation.
func (h history) facts(ctx context.Context, m *model.Model) error {
	name, client := h.workload.Name, foreshadowv1.NewHistoryServiceClient(h.conn)
	if err := newest(func(token string) (string, error) {
		measured, err := client.QueryCapacityMeasurements(ctx, &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: name, PageSize: factsPage, PageToken: token})
		if err != nil {
			return "", fmt.Errorf("query capacity measurements: %w", err)
		}
		for _, c := range measured.GetMeasurements() {
			m.ObserveCapacity(model.AsOf(h.begun, c))
		}
		if m.Measured() {
			return "", nil
		}
		return measured.GetNextPageToken(), nil
	}); err != nil {
		return err
	}
	if err := newest(func(token string) (string, error) {
		taken, err := client.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{Workload: name, PageSize: factsPage, PageToken: token})
		if err != nil {
			return "", fmt.Errorf("query scaling actions: %w", err)
		}
		for _, a := range taken.GetActions() {
			m.ObserveAction(a)
		}
		if m.KnowsStartup() {
			return "", nil
		}
		return taken.GetNextPageToken(), nil
	}); err != nil {
		return err
	}
	made, err := client.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{Workload: name, PageSize: 1})
	if err != nil {
		return fmt.Errorf("query recommendations: %w", err)
	}
	for _, r := range made.GetRecommendations() {
		m.ObserveGeneration(r.GetGeneration())
	}
	return nil
}

// newest reads pages of facts, the newest first, until one leads to no other. What is looked for may lie behind many that do not
// count, experiments and failed measurements for example; behind all these it is too old to matter.
func newest(read func(token string) (next string, err error)) error {
	token := ""
	for range factsPages {
		var err error
		if token, err = read(token); err != nil || token == "" {
			return err
		}
	}
	return nil
}
