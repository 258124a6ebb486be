package predictor

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

// feed hands live events to the models. An event that cannot be read is logged and left out: the aggregator, which keeps
// the truth, has put it beside its topic already.
type feed struct {
	models   map[string]*model.Model
	windows  *metric.Book
	advanced map[string]chan struct{}
	log      *slog.Logger
}

func (f feed) handlers() map[string]func(kafka.Record) error {
	return map[string]func(kafka.Record) error{
		kafka.TopicMetricsWindowed:  f.window,
		kafka.TopicCapacityMeasured: f.capacity,
		kafka.TopicScalingApplied:   f.action,
	}
}

func (f feed) window(r kafka.Record) error {
	f.windows.See(1)
	w := &foreshadowv1.MetricsWindowed{}
	if err := r.Decode(w); err != nil {
		f.unreadable(r, err)
		return nil
	}
	m := f.models[w.GetWorkload()]
	if m == nil {
		f.windows.Drop("unknown_workload", 1)
		return nil
	}
	news, err := m.ObserveWindow(w)
	switch {
	case err != nil:
		f.unreadable(r, err)
	case !news:
		f.windows.Drop("not_news", 1)
	default:
		f.windows.Pass(1)
		if w.GetTraffic() != nil {
			select {
			case f.advanced[w.GetWorkload()] <- struct{}{}:
			default: // the predictor has been woken already
			}
		}
	}
	return nil
}

func (f feed) unreadable(r kafka.Record, err error) {
	f.windows.Drop("unreadable", 1)
	f.log.Warn("event left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "event_id", r.Meta.ID, "err", err)
}

func (f feed) capacity(r kafka.Record) error {
	c := &foreshadowv1.CapacityMeasured{}
	if err := r.Decode(c); err != nil {
		f.log.Warn("event left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "event_id", r.Meta.ID, "err", err)
		return nil
	}
	if m := f.models[c.GetWorkload()]; m != nil && m.ObserveCapacity(c) {
		f.log.Info("capacity measured", "workload", c.GetWorkload(), "requests_per_second", c.GetRequestsPerSecond())
	}
	return nil
}

func (f feed) action(r kafka.Record) error {
	a := &foreshadowv1.ScalingApplied{}
	if err := r.Decode(a); err != nil {
		f.log.Warn("event left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "event_id", r.Meta.ID, "err", err)
		return nil
	}
	if m := f.models[a.GetWorkload()]; m != nil {
		m.ObserveAction(a)
	}
	return nil
}

// gauges shows the newest recommendation of each workload.
type gauges struct {
	recommended, demand, forecast, capacity *prometheus.GaugeVec
	trusted                                 *prometheus.GaugeVec
	made                                    *prometheus.CounterVec
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
