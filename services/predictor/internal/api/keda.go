package api

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/proto/externalscaler"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	kedaMetric = "foreshadow-instances"
	// kedaResend repeats the state on an open stream, so that a KEDA that missed one message is not wrong for long.
	kedaResend = 10 * time.Second
)

// keda answers KEDA: the metric is the recommended number of instances and its target is 1, so the HPA that KEDA makes
// asks for exactly that number. An expired recommendation is an error, never a number: KEDA then uses its own fallback.
type keda struct {
	externalscaler.UnimplementedExternalScalerServer
	server *Server
}

func registerKEDA(r grpc.ServiceRegistrar, s *Server) {
	externalscaler.RegisterExternalScalerServer(r, keda{server: s})
}

func (k keda) instances(ref *externalscaler.ScaledObjectRef) (float64, error) {
	workload := cmp.Or(ref.GetScalerMetadata()["workload"], ref.GetName())
	r, err := k.server.newest(workload)
	if err != nil {
		return 0, err
	}
	return valid(r, k.server.now())
}

func valid(r *foreshadowv1.Recommendation, now time.Time) (float64, error) {
	if expired := r.GetExpireTime().AsTime(); !now.Before(expired) {
		return 0, fmt.Errorf("the recommendation for %q expired at %s: %w", r.GetWorkload(), expired.Format(time.RFC3339), rpc.ErrUnavailable)
	}
	return float64(r.GetProduction().GetInstances()), nil
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
func (k keda) StreamIsActive(ref *externalscaler.ScaledObjectRef, stream grpc.ServerStreamingServer[externalscaler.IsActiveResponse]) error {
	workload := cmp.Or(ref.GetScalerMetadata()["workload"], ref.GetName())
	if err := k.server.known(workload); err != nil {
		return err
	}
	var after uint64
	var active, sent bool
	resend := k.server.now()
	for {
		ctx, cancel := context.WithDeadline(stream.Context(), resend)
		r, err := k.server.board.Next(ctx, workload, after)
		cancel()
		if stream.Context().Err() != nil {
			return stream.Context().Err()
		}
		changed := false
		if err == nil {
			after = r.GetGeneration()
			now := r.GetProduction().GetInstances() > 0
			changed, active = !sent || now != active, now
		}
		due := !k.server.now().Before(resend)
		if due {
			resend = k.server.now().Add(kedaResend)
		}
		if !changed && (!due || after == 0) {
			continue
		}
		if err := stream.Send(&externalscaler.IsActiveResponse{Result: active}); err != nil {
			return err
		}
		sent = true
	}
}

// GetMetricSpec names the metric; its target is 1 instance per instance.
func (k keda) GetMetricSpec(_ context.Context, ref *externalscaler.ScaledObjectRef) (*externalscaler.GetMetricSpecResponse, error) {
	if err := k.server.known(cmp.Or(ref.GetScalerMetadata()["workload"], ref.GetName())); err != nil {
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
		MetricValues: []*externalscaler.MetricValue{{MetricName: kedaMetric, MetricValue: int64(n), MetricValueFloat: n}},
	}, nil
}
