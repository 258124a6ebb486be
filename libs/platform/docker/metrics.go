package docker

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

func newMetrics(groups map[string]*group) *metrics {
	return &metrics{
		groups:    groups,
		instances: prometheus.NewDesc("foreshadow_docker_platform_instances", "Instances by group and phase.", []string{"group", "phase"}, nil),
		desired:   prometheus.NewDesc("foreshadow_docker_platform_desired_instances", "Instances asked for.", []string{"group"}, nil),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_docker_platform_failures_total",
			Help: "Instances that ended by themselves, were not ready in time or missed their checks.",
		}, []string{"group"}),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.instances
	ch <- m.desired
	m.failures.Describe(ch)
}

// Collect implements prometheus.Collector. A group that is not known now is left out: absent is not zero.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.failures.Collect(ch)
	for name, g := range m.groups {
		s, _, err := g.State()
		if err != nil {
			continue
		}
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
