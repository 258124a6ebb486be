package record

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Metrics count what was done and refused.
type Metrics struct {
	actions     *prometheus.CounterVec
	guardrails  *prometheus.CounterVec
	startup     *prometheus.GaugeVec
	unpublished prometheus.Counter
}

// NewMetrics registers the metrics; a nil registry keeps them unseen.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_provisioner_actions_total", Help: "Changes, refusals, plans and proposals by how they ended.",
		}, []string{"workload", "environment", "outcome"}),
		guardrails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_provisioner_guardrail_hits_total", Help: "Actions that a guardrail changed or refused.",
		}, []string{"workload", "environment", "guardrail"}),
		startup: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_provisioner_startup_seconds", Help: "Time from start to ready in the last change that started instances.",
		}, []string{"workload", "environment"}),
		unpublished: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foreshadow_provisioner_unpublished_records_total", Help: "Refusals not published because the broker was away for long.",
		}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.actions, m.guardrails, m.startup, m.unpublished} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the provisioner: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) observe(a *foreshadowv1.ScalingApplied) {
	environment := a.GetEnvironment().String()
	m.actions.WithLabelValues(a.GetWorkload(), environment, a.GetOutcome().String()).Inc()
	for _, g := range a.GetGuardrails() {
		m.guardrails.WithLabelValues(a.GetWorkload(), environment, g).Inc()
	}
	if a.GetStartupSeconds() > 0 {
		m.startup.WithLabelValues(a.GetWorkload(), environment).Set(a.GetStartupSeconds())
	}
}
