package predictor

import (
	"github.com/prometheus/client_golang/prometheus"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// gauges shows the newest recommendation of each workload.
type gauges struct {
	recommended, demand, forecast, capacity, trusted *prometheus.GaugeVec
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
