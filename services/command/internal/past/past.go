// Package past reads the demand that Foreshadow itself has seen, as a series to replay.
package past

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	page      = 10000
	maxPoints = 5_000_000
)

// Query is which past to read.
type Query struct {
	Workload string
	From, To time.Time
	Step     time.Duration // a multiple of the length of the stored windows
}

// Read returns the production demand in requests per second. A step of which less than half was seen is missing.
func Read(ctx context.Context, client foreshadowv1.HistoryServiceClient, q Query) (forecast.Series, error) {
	from, to := metric.WindowStart(q.From, q.Step), metric.WindowStart(q.To, q.Step)
	n := int(to.Sub(from) / q.Step)
	if n < 1 || n > maxPoints {
		return forecast.Series{}, fmt.Errorf("read history of %s: %d steps of %s, want 1 to %d", q.Workload, n, q.Step, maxPoints)
	}
	out := forecast.Series{Start: from.UTC(), Step: q.Step, Values: make([]float64, n)}
	for i := range out.Values {
		out.Values[i] = math.NaN()
	}
	req := &foreshadowv1.QueryWindowsRequest{
		Workload: q.Workload, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
		Kind:      foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC,
		StartTime: timestamppb.New(from), EndTime: timestamppb.New(to),
		StepSeconds: q.Step.Seconds(), TotalsOnly: true, PageSize: page,
	}
	first, last := n, -1
	for {
		resp, err := client.QueryWindows(ctx, req)
		if err != nil {
			return forecast.Series{}, fmt.Errorf("read history of %s: %w", q.Workload, err)
		}
		for _, w := range resp.GetWindows() {
			i := int(w.GetStartTime().AsTime().Sub(from) / q.Step)
			covered := w.GetDurationSeconds()
			if i < 0 || i >= n || !(covered >= q.Step.Seconds()/2) {
				continue
			}
			var requests float64
			for _, s := range w.GetTraffic().GetStrata() {
				requests += float64(s.GetRequests())
			}
			out.Values[i] = requests / covered
			first, last = min(first, i), max(last, i)
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if last < 0 {
		return forecast.Series{}, fmt.Errorf("read history of %s: nothing was seen between %s and %s", q.Workload,
			from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	// What was asked for before the first request ever seen is no gap.
	out.Start, out.Values = out.Time(first), out.Values[first:last+1]
	return out, nil
}
