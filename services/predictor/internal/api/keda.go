package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/proto/externalscaler"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

const kedaMetric = "foreshadow-instances"

// keda answers KEDA: the metric is the recommended number of instances and its target is 1, so the HPA that KEDA makes
// asks for exactly that number, to within its tolerance: an HPA leaves a difference of up to 10 % alone unless
// `behavior.scaleUp.tolerance` and `scaleDown.tolerance` say 0. Without a recommendation that may be used the answer is an
// error, never a number: KEDA then changes nothing, or falls back as its ScaledObject says.
type keda struct {
	externalscaler.UnimplementedExternalScalerServer
	server *Server
}

// target is the workload that a ScaledObject asks for: its trigger's metadata name it, else the object bears its name.
func target(ref *externalscaler.ScaledObjectRef) string {
	return cmp.Or(ref.GetScalerMetadata()["workload"], ref.GetName())
}

func (k keda) instances(ref *externalscaler.ScaledObjectRef) (int64, error) {
	r, err := k.server.newest(target(ref))
	if err != nil {
		return 0, err
	}
	return k.usable(r)
}

// usable returns the instances that a recommendation asks for, or why it may not be used: it is expired, or it names no
// number, which must not be taken for none. KEDA takes a negative one for 0.
func (k keda) usable(r *foreshadowv1.Recommendation) (int64, error) {
	switch expires := r.GetExpireTime().AsTime(); {
	case !k.server.cfg.Now().Before(expires):
		return 0, fmt.Errorf("the recommendation for %q expired at %s: %w", r.GetWorkload(), expires.Format(time.RFC3339), rpc.ErrUnavailable)
	case r.GetProduction() == nil || r.GetProduction().GetInstances() < 0:
		return 0, fmt.Errorf("the recommendation for %q names no number of instances: %w", r.GetWorkload(), rpc.ErrUnavailable)
	}
	return int64(r.GetProduction().GetInstances()), nil
}

// IsActive says whether any instance is recommended.
func (k keda) IsActive(_ context.Context, ref *externalscaler.ScaledObjectRef) (*externalscaler.IsActiveResponse, error) {
	n, err := k.instances(ref)
	if err != nil {
		return nil, err
	}
	return &externalscaler.IsActiveResponse{Result: n > 0}, nil
}

// StreamIsActive sends the state at once, on every change, and at intervals; it is held open until the caller leaves.
// While the newest recommendation may not be used it is silent. A server that stops ends it without an error: KEDA doubles
// its wait before the next try after each error, up to a minute, and forgets that only after a clean end.
func (k keda) StreamIsActive(ref *externalscaler.ScaledObjectRef, stream grpc.ServerStreamingServer[externalscaler.IsActiveResponse]) error {
	workload := target(ref)
	if err := k.server.known(workload); err != nil {
		return err
	}
	var after uint64
	var active, told bool
	repeat := time.Now().Add(k.server.cfg.Resend)
	for {
		ctx, cancel := context.WithDeadline(stream.Context(), repeat)
		r, err := k.server.cfg.Board.Next(ctx, workload, after)
		cancel()
		due := false
		switch {
		case stream.Context().Err() != nil:
			return stream.Context().Err()
		case errors.Is(err, board.ErrClosed):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			due, repeat = true, time.Now().Add(k.server.cfg.Resend)
			r = k.server.cfg.Board.Get(workload)
		case err != nil:
			return err
		}
		after = r.GetGeneration()
		n, unusable := k.usable(r)
		if now := n > 0; unusable == nil && (!told || now != active || due) {
			if err := stream.Send(&externalscaler.IsActiveResponse{Result: now}); err != nil {
				return err
			}
			active, told = now, true
		}
	}
}

// spec is the metric of every workload; its target is 1 instance per instance.
func (k keda) spec(ref *externalscaler.ScaledObjectRef) (*externalscaler.GetMetricSpecResponse, error) {
	if err := k.server.known(target(ref)); err != nil {
		return nil, err
	}
	return &externalscaler.GetMetricSpecResponse{
		MetricSpecs: []*externalscaler.MetricSpec{{MetricName: kedaMetric, TargetSize: 1, TargetSizeFloat: 1}},
	}, nil
}

// GetMetricSpec names the metric and its target.
func (k keda) GetMetricSpec(_ context.Context, ref *externalscaler.ScaledObjectRef) (*externalscaler.GetMetricSpecResponse, error) {
	return k.spec(ref)
}

// StreamMetricSpec sends what GetMetricSpec answers and is held open; it never changes. A server that stops ends it without
// an error, as StreamIsActive.
func (k keda) StreamMetricSpec(ref *externalscaler.ScaledObjectRef, stream grpc.ServerStreamingServer[externalscaler.GetMetricSpecResponse]) error {
	spec, err := k.spec(ref)
	if err != nil {
		return err
	}
	if err := stream.Send(spec); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		return stream.Context().Err()
	case <-k.server.cfg.Board.Closed():
		return nil
	}
}

// GetMetrics returns the recommended number of instances. KEDA reads the float only above 0 and the integer otherwise, so
// both are set.
func (k keda) GetMetrics(_ context.Context, req *externalscaler.GetMetricsRequest) (*externalscaler.GetMetricsResponse, error) {
	if name := req.GetMetricName(); name != "" && name != kedaMetric {
		return nil, &rpc.FieldError{Field: "metricName", Problem: fmt.Sprintf("want %s, got %q", kedaMetric, name)}
	}
	n, err := k.instances(req.GetScaledObjectRef())
	if err != nil {
		return nil, err
	}
	return &externalscaler.GetMetricsResponse{
		MetricValues: []*externalscaler.MetricValue{{MetricName: kedaMetric, MetricValue: n, MetricValueFloat: float64(n)}},
	}, nil
}
