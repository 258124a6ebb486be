package predictor

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// trace records the span in which a recommendation was made, and returns its W3C form. What is done about it becomes part of
// the same trace.
func (s *Service) trace(r *foreshadowv1.Recommendation, begin time.Time) string {
	if s.deps.Tracing == nil {
		return ""
	}
	ctx := telemetry.AsRecommendation(context.Background(), r.GetRecommendationId())
	_, span := s.deps.Tracing.Tracer("foreshadow/predictor").Start(ctx, "recommend "+r.GetWorkload(), trace.WithTimestamp(begin), trace.WithAttributes(
		attribute.String("foreshadow.recommendation_id", r.GetRecommendationId()), attribute.String("foreshadow.policy", r.GetPolicy().String()),
		attribute.Int("foreshadow.instances", int(r.GetProduction().GetInstances())), attribute.String("foreshadow.reason", r.GetReasons()[0].GetText()),
		attribute.Float64("foreshadow.demand", r.GetEvidence().GetDemandPerSecond()), attribute.Float64("foreshadow.forecast", r.GetEvidence().GetForecastPerSecond()),
		attribute.Float64("foreshadow.capacity", r.GetEvidence().GetCapacityPerSecond()),
	))
	defer span.End()
	if !span.SpanContext().IsValid() {
		return ""
	}
	return telemetry.Traceparent(span.SpanContext())
}
