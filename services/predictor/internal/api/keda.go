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
)

const kedaMetric = "foreshadow-instances"

// keda answers KEDA: the metric is the recommended number of instances and its target is 1, so the HPA that KEDA makes
// asks for exactly that number. An expired recommendation is an error, never a number: KEDA then uses its own fallback.
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
	if expired := r.GetExpireTime().AsTime(); k.expired(r) {
		return 0, fmt.Errorf("the recommendation for %q expired at %s: %w", r.GetWorkload(), expired.Format(time.RFC3339), rpc.ErrUnavailable)
	}
	return int64(r.GetProduction().GetInstances()), nil
}

func (k keda) expired(r *foreshadowv1.Recommendation) bool {
	return !k.server.cfg.Now().Before(r.GetExpireTime().AsTime())
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
// While the newest recommendation is expired it is silent.
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
		r, err := k.server.next(ctx, workload, after)
		cancel()
		due := false
		switch {
		case stream.Context().Err() != nil:
			return stream.Context().Err()
		case errors.Is(err, context.DeadlineExceeded):
			due, repeat = true, time.Now().Add(k.server.cfg.Resend)
			r = k.server.cfg.Board.Get(workload)
		case err != nil:
			return err
		}
		after = r.GetGeneration()
		now := r.GetProduction().GetInstances() > 0
		if r == nil || k.expired(r) || told && now == active && !due {
			continue
		}
		if err := stream.Send(&externalscaler.IsActiveResponse{Result: now}); err != nil {
			return err
		}
		active, told = now, true
	}
}

// GetMetricSpec names the metric; its target is 1 instance per instance.
func (k keda) GetMetricSpec(_ context.Context, ref *externalscaler.ScaledObjectRef) (*externalscaler.GetMetricSpecResponse, error) {
	if err := k.server.known(target(ref)); err != nil {
		return nil, err
	}
	return &externalscaler.GetMetricSpecResponse{
		MetricSpecs: []*externalscaler.MetricSpec{{MetricName: kedaMetric, TargetSize: 1, TargetSizeFloat: 1}},
	}, nil
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
