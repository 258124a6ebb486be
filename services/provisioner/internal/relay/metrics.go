package relay

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of the connections that a provisioner in reserve is given.
const (
	outcomePassed      = "passed"
	outcomeNoLeader    = "no_leader"
	outcomeUnreachable = "unreachable"
)

// Metrics count connections.
type Metrics struct{ connections *prometheus.CounterVec }

// NewMetrics registers the metrics; a nil registry keeps them unseen.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foreshadow_provisioner_relayed_connections_total",
		Help: "Connections that came while this provisioner did not lead: passed on to the leader, or closed and why.",
	}, []string{"outcome"})}
	for _, o := range []string{outcomePassed, outcomeNoLeader, outcomeUnreachable} {
		m.connections.WithLabelValues(o)
	}
	if registry == nil {
		return m, nil
	}
	if err := registry.Register(m.connections); err != nil {
		return nil, fmt.Errorf("register metrics of the relay: %w", err)
	}
	return m, nil
}

func (m *Metrics) count(outcome string) { m.connections.WithLabelValues(outcome).Inc() }
