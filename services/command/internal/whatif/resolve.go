package whatif

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	peakStep = time.Minute
	maxShape = 1440
)

// Sources are asked for what was recorded and what is forecast.
type Sources struct {
	History   foreshadowv1.HistoryServiceClient
	Forecasts foreshadowv1.ForecastServiceClient
	Now       func() time.Time
}

// Resolve says how much each load is. It asks only for what the file mentions.
func (s Sources) Resolve(ctx context.Context, f File) (*foreshadowv1.CreateExperimentRequest, error) {
	var errs []error
	req := f.Request(func(l Load) Demand {
		d, err := s.demand(ctx, f.Workload, l)
		if err != nil {
			errs = append(errs, fmt.Errorf("load %s: %w", l.Name, err))
		}
		return d
	})
	return req, errors.Join(errs...)
}

func (s Sources) demand(ctx context.Context, workload string, l Load) (Demand, error) {
	if l.RecordedPeak > 0 {
		rate, err := s.peak(ctx, workload, l.RecordedPeak)
		return Demand{Rate: rate}, err
	}
	shape, err := s.forecast(ctx, workload, l)
	return Demand{Shape: shape}, err
}

// peak is the busiest minute.
func (s Sources) peak(ctx context.Context, workload string, within time.Duration) (float64, error) {
	now := s.Now()
	req := &foreshadowv1.QueryWindowsRequest{
		Workload: workload, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, Kind: foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC,
		StartTime: timestamppb.New(now.Add(-within)), EndTime: timestamppb.New(now), StepSeconds: peakStep.Seconds(), TotalsOnly: true,
	}
	peak := 0.0
	for {
		resp, err := s.History.QueryWindows(ctx, req)
		if err != nil {
			return 0, fmt.Errorf("ask for what was recorded: %w", err)
		}
		for _, w := range resp.GetWindows() {
			n := uint64(0)
			for _, t := range w.GetTraffic().GetStrata() {
				n += t.GetRequests()
			}
			if d := w.GetDurationSeconds(); d > 0 {
				peak = max(peak, float64(n)/d)
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if peak == 0 {
		return 0, fmt.Errorf("nothing was recorded within %v", within)
	}
	return peak, nil
}

func (s Sources) forecast(ctx context.Context, workload string, l Load) ([]float64, error) {
	resp, err := s.Forecasts.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: workload, HorizonSeconds: l.ForecastDay.Seconds()})
	if err != nil {
		return nil, fmt.Errorf("ask for the forecast: %w", err)
	}
	var out []float64
	for _, p := range resp.GetForecast().GetPoints() {
		v, found := p.GetMeanPerSecond(), l.Quantile == 0
		for _, q := range p.GetQuantiles() {
			if !found && q.GetLevel() >= l.Quantile-1e-9 {
				v, found = q.GetValuePerSecond(), true
			}
		}
		if !found {
			return nil, fmt.Errorf("the forecast has no quantile %v", l.Quantile)
		}
		out = append(out, max(0, v))
	}
	if len(out) == 0 {
		return nil, errors.New("the forecast is empty")
	}
	return thin(out), nil
}

// thin keeps the highest of neighbours, so that there are no more than the runner takes.
func thin(v []float64) []float64 {
	each := (len(v) + maxShape - 1) / maxShape
	var out []float64
	for i := 0; i < len(v); i += each {
		highest := 0.0
		for _, x := range v[i:min(len(v), i+each)] {
			highest = max(highest, x)
		}
		out = append(out, highest)
	}
	return out
}
