package replicator

import (
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/services/replicator/internal/sample"
)

// figure lets the sampler follow the traffic, and returns how well the copies show it.
func (s *Service) figure() metric.Confidence {
	f, known := s.tap.Tick(time.Now())
	if !known {
		return metric.Confidence{}
	}
	return metric.NewConfidence(1, f.Mix, f.P95HalfWidth(), f.DesignEffect, f.Span.Seconds())
}

// registerSample registers what is known of the sample; a figure that is not known yet is NaN.
func (s *Service) registerSample() error {
	gauge := func(name, help string, of func(sample.Figure) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "foreshadow_replicator_sample_" + name, Help: help}, func() float64 {
			f, known := s.tap.Figure()
			if !known {
				return math.NaN()
			}
			return of(f)
		})
	}
	over := func(bound string, of func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "foreshadow_replicator_stratum_overflow_requests_total", Help: "Requests that share a stratum because a bound was reached.",
			ConstLabels: prometheus.Labels{"bound": bound},
		}, func() float64 { return float64(of()) })
	}
	for _, c := range []prometheus.Collector{
		gauge("mix_half_width_ratio", "Half-width of the 95 % interval of the mix of the sample, as total variation.", func(f sample.Figure) float64 { return f.Mix }),
		gauge("p95_half_width_ratio", "Half-width of the 95 % interval of the p95 of the sample, as a share of p95.", sample.Figure.P95HalfWidth),
		gauge("design_effect_ratio", "How many times larger variances are because whole sessions are sampled.", func(f sample.Figure) float64 { return f.DesignEffect }),
		over("routes", func() uint64 { routes, _ := s.tap.Overflow(); return routes }),
		over("strata", func() uint64 { _, strata := s.tap.Overflow(); return strata }),
	} {
		if err := s.deps.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics of the sample: %w", err)
		}
	}
	return nil
}
