package console_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func abstention(reason string) error { return fmt.Errorf("%s: %w", reason, rpc.ErrPrecondition) }

const (
	production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
	shadow     = foreshadowv1.Environment_ENVIRONMENT_SHADOW
)

// trafficWindow is one second of traffic: requests spread over two strata, latencies around median seconds.
func trafficWindow(env foreshadowv1.Environment, start time.Time, revision uint64, requests int, median float64) *foreshadowv1.MetricsWindowed {
	rng := rand.New(rand.NewPCG(uint64(start.UnixNano()), uint64(env)))
	strata := metric.Strata{}
	for i := range requests {
		c := strata.At(traffic.Stratum{Route: []string{"GET /", "GET /items/{id}"}[i%2]})
		c.Requests++
		c.Responses++
		c.Latency.Add(median * math.Exp(0.5*rng.NormFloat64()))
	}
	return &foreshadowv1.MetricsWindowed{
		Workload: shop, Environment: env, StartTime: timestamppb.New(start), DurationSeconds: 1, Revision: revision,
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{Strata: strata.Proto()}},
	}
}

func usageWindow(env foreshadowv1.Environment, start time.Time, revision uint64, ready, desired int32) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: shop, Environment: env, StartTime: timestamppb.New(start), DurationSeconds: 1, Revision: revision,
		Content: &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{ReadyInstances: ready, DesiredInstances: desired}},
	}
}

func recommendation(at time.Time, instances, reactive int32, code, text string) *foreshadowv1.Recommendation {
	demand := demandAt(at)
	return &foreshadowv1.Recommendation{
		RecommendationId: fmt.Sprintf("r-%d", at.UnixNano()), Workload: shop, Generation: uint64(at.UnixNano()), CreateTime: timestamppb.New(at),
		ExpireTime: timestamppb.New(at.Add(30 * time.Second)), Policy: foreshadowv1.Policy_POLICY_PREDICTIVE,
		Production: &foreshadowv1.Sizing{Instances: instances, MemoryBytes: 96 << 20}, Shadow: &foreshadowv1.Sizing{Instances: 1},
		Reasons: []*foreshadowv1.Reason{
			{Code: code, Text: text}, {Code: "forecast_trusted", Text: "The forecast beat the last value in 41 of 44 backtests"},
		},
		Evidence: &foreshadowv1.Evidence{
			DemandPerSecond: demand, DemandAgeSeconds: 0.4, Quantile: 0.95, ForecastPerSecond: 1.1 * demandAt(at.Add(8*time.Second)),
			ForecastMeanPerSecond: demandAt(at.Add(8 * time.Second)), ForecastTrusted: true, CapacityPerSecond: 65, CapacityLowerPerSecond: 62,
			StartupSeconds: 4.2, LeadTimeSeconds: 8, ReadyInstances: instances, DesiredInstances: instances,
		},
		ReactiveInstances: reactive, HpaInstances: reactive + 1,
		Prospects: &foreshadowv1.Prospects{
			SeenSeconds: 3 * 86400, HpaViolatingRequests: 930,
			Prospects: []*foreshadowv1.Prospect{
				{Risk: 0.05, CostRatio: 1.2, ViolatingRequests: 4}, {Budget: 0.8, CostRatio: 1, ViolatingRequests: 930}, {Budget: 0.9, CostRatio: 1, ViolatingRequests: 930},
				{Budget: 1, Risk: 0.12, CostRatio: 1, ViolatingRequests: 48}, {Budget: 1.1, Risk: 0.07, CostRatio: 1.1, ViolatingRequests: 9},
			},
		},
	}
}

// demandAt is a day in two minutes, between 50 and 450 requests per second.
func demandAt(t time.Time) float64 {
	return 250 - 200*math.Cos(2*math.Pi*float64(t.UnixMilli())/120_000)
}

func instancesAt(t time.Time) int32 { return int32(math.Ceil(demandAt(t) * 1.1 / 65)) }

// tell fills a script with the four minutes before now; there is nothing from the 20 s that began two minutes ago.
func tell(s *script, now time.Time) {
	s.edit(func(s *script) {
		for at := now.Add(-4 * time.Minute); at.Before(now); at = at.Add(time.Second) {
			if ago := now.Sub(at); ago <= 2*time.Minute && ago > 100*time.Second {
				continue
			}
			ready := max(instancesAt(at.Add(4*time.Second)), 2)
			desired := max(instancesAt(at.Add(8*time.Second)), 2)
			s.windows = append(s.windows,
				trafficWindow(production, at, 1, int(demandAt(at)), 0.018*(1+0.3*demandAt(at)/float64(65*ready))),
				usageWindow(production, at, 1, ready, desired), usageWindow(shadow, at, 1, 1, 1))
			if now.Sub(at) < 150*time.Second {
				s.windows = append(s.windows, trafficWindow(shadow, at, 1, int(demandAt(at)/5), 0.021))
			}
			text := fmt.Sprintf("Demand will stay below %.0f requests/s for the next 8 s with probability 0.95; that takes %d instances at 65 of 71 requests/s each", 1.1*demandAt(at.Add(8*time.Second)), desired)
			s.recs = append(s.recs, recommendation(at, desired, max(instancesAt(at.Add(-5*time.Second)), 2), "forecast_above_committed", text))
		}
		s.forecast = forecastFrom(now)
		s.capacity = []*foreshadowv1.CapacityMeasured{measurement(now.Add(-95 * time.Second))}
		s.actions = []*foreshadowv1.ScalingApplied{
			action("a2", now.Add(-20*time.Second), 4, 6, foreshadowv1.Outcome_OUTCOME_APPLIED, "forecast above what is committed"),
			action("a1", now.Add(-70*time.Second), 6, 9, foreshadowv1.Outcome_OUTCOME_REFUSED, "max_step_up allows 2 instances at once"),
		}
	})
}

func forecastFrom(now time.Time) *foreshadowv1.Forecast {
	f := &foreshadowv1.Forecast{
		Workload: shop, CreateTime: timestamppb.New(now), StepSeconds: 1, Method: "seasonal ridge", Trusted: true,
		TrustReason: "beat the last value in 41 of 44 backtests",
	}
	for i := range 40 {
		at := now.Add(time.Duration(i) * time.Second)
		mean, width := demandAt(at), 8+float64(i)
		f.Points = append(f.Points, &foreshadowv1.ForecastPoint{StartTime: timestamppb.New(at), MeanPerSecond: mean, Quantiles: []*foreshadowv1.QuantileValue{
			{Level: 0.05, ValuePerSecond: mean - width}, {Level: 0.5, ValuePerSecond: mean}, {Level: 0.95, ValuePerSecond: mean + width},
		}})
	}
	return f
}

func measurement(at time.Time) *foreshadowv1.CapacityMeasured {
	m := &foreshadowv1.CapacityMeasured{
		Workload: shop, MeasureTime: timestamppb.New(at), Valid: true, RequestsPerSecond: 65, LowerRequestsPerSecond: 62,
		UpperRequestsPerSecond: 68, SloLatencySeconds: 0.1, SloQuantile: 0.95, Bottleneck: foreshadowv1.Bottleneck_BOTTLENECK_CPU,
	}
	broken := map[float64]string{80: "loss of the instance", 70: "latency"}
	for i, rate := range []float64{20, 40, 60, 80, 70, 65} {
		m.Steps = append(m.Steps, &foreshadowv1.CapacityStep{
			OfferedPerSecond: rate, CompletedPerSecond: min(rate, 71), LatencySeconds: 0.02 * math.Exp(float64(i)*0.1+max(0, rate-65)/8), SloMet: rate <= 65, Broken: broken[rate],
		})
	}
	return m
}

func action(id string, at time.Time, from, to int32, outcome foreshadowv1.Outcome, reason string) *foreshadowv1.ScalingApplied {
	return &foreshadowv1.ScalingApplied{
		ActionId: id, Workload: shop, Environment: production, From: &foreshadowv1.Sizing{Instances: from}, To: &foreshadowv1.Sizing{Instances: to},
		Outcome: outcome, Reason: reason, CreateTime: timestamppb.New(at), CompleteTime: timestamppb.New(at.Add(4300 * time.Millisecond)),
		StartupSeconds: 4.2, Actor: "predictor",
	}
}
