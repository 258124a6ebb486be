package predictor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/forecast"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// gauges shows the newest recommendation of each workload, and how its forecasts have fared.
type gauges struct {
	recommended, demand, forecast, capacity, trusted *prometheus.GaugeVec
	missed, missedReactive, coverage, skill, scored  *prometheus.GaugeVec
	played, recalled                                 *prometheus.GaugeVec
	made                                             *prometheus.CounterVec
}

func newGauges(r prometheus.Registerer) *gauges {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "foreshadow_predictor_" + name, Help: help}, append([]string{"workload"}, labels...))
		r.MustRegister(g)
		return g
	}
	g := &gauges{
		recommended: gauge("recommended_instances", "Instances recommended, by environment.", "environment"),
		demand:      gauge("demand_requests_per_second", "Production demand the recommendation rests on."),
		forecast:    gauge("forecast_requests_per_second", "Forecast demand at the quantile used, maximum over the lead time."),
		capacity:    gauge("capacity_requests_per_second", "Rate one instance carries within the SLO; 0 when unknown."),
		trusted:     gauge("forecast_trusted", "1 when the forecast has earned trust."),
		missed:      gauge("forecast_error_requests_per_second", "Mean absolute error of recent forecasts."),
		missedReactive: gauge("forecast_reactive_error_requests_per_second",
			"Mean absolute error of repeating the last value, over the same steps."),
		coverage: gauge("forecast_coverage_ratio", "Share of recent values at or below the 0.95 quantile that was forecast; 0.95 is right."),
		skill: gauge("forecast_skill_ratio",
			"Share of the 0.95 quantile's loss under the last value that the forecast avoids: 1 is perfect, below 0 worse."),
		scored: gauge("forecast_scored_steps", "Steps that error, coverage and skill are the mean of, the newest counting most."),
		played: gauge("paper_played_seconds",
			"How much of the past the fleets on paper were played against, older parts counting less; a budget is judged from a seventh of its memory on."),
		recalled: gauge("memory_recalled_age_seconds", "How old the memory was that this run went on from; absent when there was none."),
		made: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_predictor_recommendations_total", Help: "Recommendations made, by the rule that decided.",
		}, []string{"workload", "policy"}),
	}
	r.MustRegister(g.made)
	return g
}

func (g *gauges) set(r *foreshadowv1.Recommendation) {
	w, e := r.GetWorkload(), r.GetEvidence()
	g.recommended.WithLabelValues(w, "production").Set(float64(r.GetProduction().GetInstances()))
	g.recommended.WithLabelValues(w, "shadow").Set(float64(r.GetShadow().GetInstances()))
	g.demand.WithLabelValues(w).Set(e.GetDemandPerSecond())
	g.forecast.WithLabelValues(w).Set(e.GetForecastPerSecond())
	g.capacity.WithLabelValues(w).Set(e.GetCapacityPerSecond())
	trusted := 0.0
	if e.GetForecastTrusted() {
		trusted = 1
	}
	g.trusted.WithLabelValues(w).Set(trusted)
	g.made.WithLabelValues(w, r.GetPolicy().String()).Inc()
}

// setTrust shows how the forecasts of a workload have fared; nothing is shown before one was scored.
func (g *gauges) setTrust(w string, t forecast.Trust) {
	if t.Samples == 0 {
		return
	}
	g.missed.WithLabelValues(w).Set(t.MAE)
	g.missedReactive.WithLabelValues(w).Set(t.ReactiveMAE)
	g.coverage.WithLabelValues(w).Set(t.Coverage)
	g.skill.WithLabelValues(w).Set(t.Skill())
	g.scored.WithLabelValues(w).Set(float64(t.Samples))
}
