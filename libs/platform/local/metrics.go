package local

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// metrics shows the groups as they are when asked.
type metrics struct {
	groups    map[string]*group
	instances *prometheus.Desc
	desired   *prometheus.Desc
	failures  *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		instances: prometheus.NewDesc("foreshadow_local_platform_instances", "Instances by group and phase.", []string{"group", "phase"}, nil),
		desired:   prometheus.NewDesc("foreshadow_local_platform_desired_instances", "Instances asked for.", []string{"group"}, nil),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_local_platform_failures_total",
			Help: "Instances that ended by themselves, were not ready in time or missed their checks.",
		}, []string{"group"}),
	}
}

func (m *metrics) failed(group string) { m.failures.WithLabelValues(group).Inc() }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.instances
	ch <- m.desired
	m.failures.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.failures.Collect(ch)
	for name, g := range m.groups {
		s, _ := g.state()
		ch <- prometheus.MustNewConstMetric(m.desired, prometheus.GaugeValue, float64(s.Desired), name)
		phases := map[platform.Phase]int{platform.Starting: 0, platform.Ready: 0, platform.Draining: 0, platform.Failed: 0}
		for _, i := range s.Instances {
			phases[i.Phase]++
		}
		for phase, n := range phases {
			ch <- prometheus.MustNewConstMetric(m.instances, prometheus.GaugeValue, float64(n), name, string(phase))
		}
	}
}
