package history

import (
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

const (
	usualWindows = 1000
	mostWindows  = 10000
	// longestStep keeps a step within what a time can be reckoned with.
	longestStep = 366 * 24 * time.Hour
)

// QueryWindows implements foreshadowv1.HistoryServiceServer.
func (s *Server) QueryWindows(ctx context.Context, req *foreshadowv1.QueryWindowsRequest) (*foreshadowv1.QueryWindowsResponse, error) {
	read, err := s.windowSource(req)
	if err != nil {
		return nil, err
	}
	size, err := rpc.PageSize(req.PageSize, usualWindows, mostWindows)
	if err != nil {
		return nil, err
	}
	plain := proto.CloneOf(req)
	plain.PageSize, plain.PageToken = 0, ""
	request, err := fingerprint(plain)
	if err != nil {
		return nil, err
	}
	from, err := readToken(req.PageToken, request)
	if err != nil {
		return nil, err
	}
	page, last, more, err := read.page(ctx, window.Position{Start: from.Time, Width: from.Width}, size)
	if err != nil {
		return nil, database.Away(err)
	}
	resp := &foreshadowv1.QueryWindowsResponse{Windows: page}
	if more {
		resp.NextPageToken = token{Request: request, Time: last.Start, Width: last.Width}.String()
	}
	return resp, nil
}

// windowSource validates the request and chooses how to read.
func (s *Server) windowSource(req *foreshadowv1.QueryWindowsRequest) (source, error) {
	if err := s.checkWorkload(req.Workload); err != nil {
		return nil, err
	}
	if err := checkEnvironment("environment", req.Environment); err != nil {
		return nil, err
	}
	r, err := s.rangeOf(req)
	if err != nil {
		return nil, err
	}
	step, err := s.step(req)
	if err != nil {
		return nil, err
	}
	switch {
	case req.Kind == foreshadowv1.WindowKind_WINDOW_KIND_USAGE:
		return func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
			return window.ListUsage(ctx, s.pool, r, after, limit)
		}, nil
	case step > 0 && req.TotalsOnly:
		return func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
			return s.sumTotals(ctx, r, step, after, limit)
		}, nil
	case step > 0:
		return func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
			return s.mergeSteps(ctx, r, step, after, limit)
		}, nil
	case req.TotalsOnly:
		return func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
			return window.ListTotals(ctx, s.pool, r, after, limit)
		}, nil
	default:
		return func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
			return listTraffic(ctx, s, r, after, limit)
		}, nil
	}
}

func (s *Server) rangeOf(req *foreshadowv1.QueryWindowsRequest) (window.Range, error) {
	r := window.Range{Workload: req.Workload, Environment: req.Environment, To: s.now()}
	if req.StartTime == nil {
		return r, &rpc.FieldError{Field: "start_time", Problem: "is required"}
	}
	if err := req.StartTime.CheckValid(); err != nil {
		return r, &rpc.FieldError{Field: "start_time", Problem: err.Error()}
	}
	r.From = req.StartTime.AsTime()
	if req.EndTime != nil {
		if err := req.EndTime.CheckValid(); err != nil {
			return r, &rpc.FieldError{Field: "end_time", Problem: err.Error()}
		}
		if r.To = req.EndTime.AsTime(); r.To.Before(r.From) {
			return r, &rpc.FieldError{Field: "end_time", Problem: "is before start_time"}
		}
	}
	return r, nil
}

// step is 0 when windows are wanted as stored.
func (s *Server) step(req *foreshadowv1.QueryWindowsRequest) (time.Duration, error) {
	switch req.Kind {
	case foreshadowv1.WindowKind_WINDOW_KIND_UNSPECIFIED, foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC:
	case foreshadowv1.WindowKind_WINDOW_KIND_USAGE:
		if req.StepSeconds != 0 {
			return 0, &rpc.FieldError{Field: "step_seconds", Problem: "is for traffic windows only"}
		}
	default:
		return 0, &rpc.FieldError{Field: "kind", Problem: "is neither traffic nor usage"}
	}
	if req.StepSeconds == 0 {
		return 0, nil
	}
	if !(req.StepSeconds > 0) || req.StepSeconds > longestStep.Seconds() {
		return 0, &rpc.FieldError{Field: "step_seconds", Problem: "is not between 0 and 366 days"}
	}
	step := time.Duration(math.Round(req.StepSeconds * float64(time.Second)))
	if step == 0 || step%s.width != 0 {
		return 0, &rpc.FieldError{Field: "step_seconds", Problem: "is not a multiple of the window of " + s.width.String()}
	}
	return step, nil
}

func listTraffic(ctx context.Context, s *Server, r window.Range, after window.Position, limit int) ([]window.Item, error) {
	keys, windows, err := window.ListTraffic(ctx, s.pool, r, after, limit)
	if err != nil {
		return nil, err
	}
	items := make([]window.Item, len(keys))
	for i, k := range keys {
		items[i] = window.Item{Position: window.Position{Start: k.Start, Width: k.Width}, Window: windows[k].Proto(k)}
	}
	return items, nil
}

// sumTotals goes on over stretches without data until it has limit steps or there are no more.
func (s *Server) sumTotals(ctx context.Context, r window.Range, step time.Duration, after window.Position, limit int) ([]window.Item, error) {
	var all []window.Item
	for len(all) < limit {
		items, err := window.SumTotals(ctx, s.pool, r, step, after, limit-len(all))
		if err != nil || len(items) == 0 {
			return all, err
		}
		all = append(all, items...)
		after = items[len(items)-1].Position
	}
	return all, nil
}

// mergeSteps merges windows with strata and latencies; SQL cannot add sketches. Only the steps asked for are in memory.
func (s *Server) mergeSteps(ctx context.Context, r window.Range, step time.Duration, after window.Position, limit int) ([]window.Item, error) {
	if !after.Start.IsZero() {
		if next := after.Start.Add(step); next.After(r.From) {
			r.From = next
		}
	}
	var steps []window.Item
	var open *stepSum
	strata := 0
	for at := (window.Position{}); ; {
		keys, windows, err := window.ListTraffic(ctx, s.pool, r, at, batch)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			at = window.Position{Start: k.Start, Width: k.Width}
			start := metric.WindowStart(k.Start, step)
			if open == nil || !open.start.Equal(start) {
				if open != nil {
					strata += len(open.traffic.Strata)
					if steps = append(steps, open.item(r, step)); len(steps) == limit || strata >= window.MaxStrata {
						return steps, nil
					}
				}
				open = &stepSum{start: start}
			}
			open.add(k, windows[k])
		}
		if len(keys) == 0 {
			break
		}
	}
	if open != nil {
		steps = append(steps, open.item(r, step))
	}
	return steps, nil
}

// stepSum adds up the windows of one step.
type stepSum struct {
	start   time.Time
	traffic window.Traffic
	covered time.Duration
}

func (o *stepSum) add(k window.Key, w *window.Traffic) {
	o.traffic.Merge(w)
	o.traffic.Revision = max(o.traffic.Revision, w.Revision)
	o.covered += k.Width
}

// item has the time that windows exist for as its duration, as window.SumTotals has.
func (o *stepSum) item(r window.Range, step time.Duration) window.Item {
	w := o.traffic.Proto(window.Key{Workload: r.Workload, Environment: r.Environment, Start: o.start, Width: o.covered})
	return window.Item{Position: window.Position{Start: o.start, Width: step}, Window: w}
}
