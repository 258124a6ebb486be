package agent

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Metrics shows the declared groups of an agent as they are when asked. Trials are left out: they come and go, and would be
// labels without end.
type Metrics struct {
	groups    map[string]Group
	instances *prometheus.Desc
	desired   *prometheus.Desc
	failures  *prometheus.CounterVec
}

// NewMetrics returns those of the platform of a name: foreshadow_<name>_platform_instances, for example.
func NewMetrics(name string) *Metrics {
	prefix := fmt.Sprintf("foreshadow_%s_platform_", name)
	return &Metrics{
		groups:    map[string]Group{},
		instances: prometheus.NewDesc(prefix+"instances", "Instances by group and phase.", []string{"group", "phase"}, nil),
		desired:   prometheus.NewDesc(prefix+"desired_instances", "Instances asked for.", []string{"group"}, nil),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "failures_total", Help: "Instances that ended by themselves, were not ready in time or missed their checks.",
		}, []string{"group"}),
	}
}

// Add declares a group, before the metrics are registered.
func (m *Metrics) Add(name string, g Group) { m.groups[name] = g }

// Failed counts an instance of a group that has failed.
func (m *Metrics) Failed(group string) {
	if m.groups[group] != nil {
		m.failures.WithLabelValues(group).Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.instances
	ch <- m.desired
	m.failures.Describe(ch)
}

// Collect implements prometheus.Collector. A group that is not known now is left out: absent is not zero.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
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
