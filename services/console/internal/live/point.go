package live

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// TrafficPoint is one traffic window as the page draws it. Pointers are nil where there is nothing to say: a window
// without responses has no latency, which is not a latency of zero.
type TrafficPoint struct {
	windowKey
	// RequestsPerSecond arrived.
	RequestsPerSecond float64 `json:"requests_per_second"`
	// ErrorRatio and ViolationRatio are shares of the responses, 0 to 1.
	ErrorRatio     *float64 `json:"error_ratio"`
	ViolationRatio *float64 `json:"violation_ratio"`
	// Latency quantiles in seconds; SLOLatency is at the quantile the SLO is about.
	P50        *float64 `json:"p50_seconds"`
	P95        *float64 `json:"p95_seconds"`
	P99        *float64 `json:"p99_seconds"`
	SLOLatency *float64 `json:"slo_latency_seconds"`
	// MixHalfWidth and P95HalfWidth say how well the copies show production at 95 % confidence: the mix as total variation,
	// p95 as a share of it.
	MixHalfWidth *float64 `json:"sample_mix_half_width"`
	P95HalfWidth *float64 `json:"sample_p95_half_width"`
}

// UsagePoint is one usage window as the page draws it.
type UsagePoint struct {
	windowKey
	// Ready and Desired instances.
	Ready   int32 `json:"ready"`
	Desired int32 `json:"desired"`
}

// SizingPoint is the numbers of one recommendation that the charts draw.
type SizingPoint struct {
	// Generation tells recommendations apart, as a string because it is beyond what JavaScript counts exactly.
	Generation string `json:"generation"`
	// Time it was made, in Unix seconds.
	Time float64 `json:"time"`
	// Instances recommended, and what a reactive policy and the HPA would hold; HPA is nil when utilisation is unknown.
	Instances int32  `json:"instances"`
	Reactive  int32  `json:"reactive"`
	HPA       *int32 `json:"hpa"`
	// Forecast is the demand at Quantile, the maximum over LeadTime seconds; nil when there was no forecast.
	Forecast *float64 `json:"forecast_per_second"`
	Quantile float64  `json:"quantile"`
	LeadTime float64  `json:"lead_time_seconds"`
	// Shadow instances recommended; 0 = asleep.
	Shadow int32 `json:"shadow_instances"`
}

// windowKey places a window; a higher revision of the same place replaces the lower one.
type windowKey struct {
	// Environment is production or shadow.
	Environment string `json:"environment"`
	// Start in Unix seconds and Duration in seconds.
	Start    float64 `json:"start"`
	Duration float64 `json:"duration"`
	// Revision grows with every change of the window.
	Revision uint64 `json:"revision"`
}

func (k windowKey) key() windowKey { return k }

var environments = map[foreshadowv1.Environment]string{
	foreshadowv1.Environment_ENVIRONMENT_PRODUCTION: "production",
	foreshadowv1.Environment_ENVIRONMENT_SHADOW:     "shadow",
}

func keyOf(w *foreshadowv1.MetricsWindowed) (windowKey, error) {
	env, known := environments[w.GetEnvironment()]
	if !known || !w.GetStartTime().IsValid() || !(w.GetDurationSeconds() > 0) {
		return windowKey{}, fmt.Errorf("window of %q: environment %v, start %v, duration %v",
			w.GetWorkload(), w.GetEnvironment(), w.GetStartTime(), w.GetDurationSeconds())
	}
	return windowKey{Environment: env, Start: unix(w.StartTime), Duration: w.DurationSeconds, Revision: w.Revision}, nil
}

func trafficPoint(k windowKey, t *foreshadowv1.TrafficWindow, quantile float64) (TrafficPoint, error) {
	strata, err := metric.StrataFromProto(t.GetStrata())
	if err != nil {
		return TrafficPoint{}, fmt.Errorf("window at %v: %w", k.Start, err)
	}
	total := strata.Total()
	p := TrafficPoint{windowKey: k, RequestsPerSecond: float64(total.Requests) / k.Duration}
	if total.Responses > 0 {
		p.ErrorRatio = number(float64(total.Errors) / float64(total.Responses))
		p.ViolationRatio = number(float64(total.SLOViolations) / float64(total.Responses))
	}
	p.P50, p.P95, p.P99 = number(total.Latency.Quantile(0.5)), number(total.Latency.Quantile(0.95)), number(total.Latency.Quantile(0.99))
	p.SLOLatency = number(total.Latency.Quantile(quantile))
	confidence, err := metric.ConfidenceFromProto(t.GetConfidence())
	if err != nil {
		return TrafficPoint{}, fmt.Errorf("window at %v: %w", k.Start, err)
	}
	p.MixHalfWidth, p.P95HalfWidth = number(confidence.Mix()), number(confidence.P95())
	return p, nil
}

func sizingPoint(r *foreshadowv1.Recommendation) SizingPoint {
	e := r.GetEvidence()
	p := SizingPoint{
		Generation: fmt.Sprint(r.GetGeneration()), Time: unix(r.GetCreateTime()), Instances: r.GetProduction().GetInstances(),
		Reactive: r.GetReactiveInstances(), Quantile: e.GetQuantile(), LeadTime: e.GetLeadTimeSeconds(), Shadow: r.GetShadow().GetInstances(),
	}
	if n := r.GetHpaInstances(); n > 0 {
		p.HPA = &n
	}
	if f := e.GetForecastPerSecond(); f > 0 {
		p.Forecast = number(f)
	}
	return p
}

// number is nil for what is not a finite number.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func unix(t *timestamppb.Timestamp) float64 {
	return float64(t.AsTime().UnixNano()) / float64(time.Second)
}
