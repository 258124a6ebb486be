package shadowrunner

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// metrics are what /ledger does not show.
type metrics struct {
	lag, capacity, difference *prometheus.GaugeVec
	measurements, shapes      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_shadow_runner_replay_lag_seconds",
			Help: "Largest lag of the load generator behind its schedule in the last second.",
		}, []string{"workload"}),
		capacity: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_shadow_runner_capacity_requests_per_second",
			Help: "Highest rate one instance carries within the SLO, as measured last.",
		}, []string{"workload"}),
		difference: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_shadow_runner_response_difference_ratio",
			Help: "Largest share, over routes and fields, of answers that differ from production's beyond what differs between equal shadows.",
		}, []string{"workload", "field"}), // status, size, type or shape
		shapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_shadow_runner_response_shapes_total",
			Help: "Answers whose shapes were compared, or why they were not.",
		}, []string{"workload", "outcome"}),
		measurements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_shadow_runner_measurements_total",
			Help: "Capacity measurements, by whether they may be used.",
		}, []string{"workload", "valid"}),
	}
	for _, c := range []prometheus.Collector{m.lag, m.capacity, m.difference, m.measurements, m.shapes} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) measured(c *foreshadowv1.CapacityMeasured) {
	valid := "false"
	if c.GetValid() {
		valid = "true"
		m.capacity.WithLabelValues(c.GetWorkload()).Set(c.GetRequestsPerSecond())
	}
	m.measurements.WithLabelValues(c.GetWorkload(), valid).Inc()
}
