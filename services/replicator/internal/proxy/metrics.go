package proxy

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Metrics count what users got. Every series is there from the start, so that no rate misses the first event.
type Metrics struct {
	requests [6]prometheus.Counter // by hundreds of the status; 0 is a client that went away
	errors   map[string]prometheus.Counter
	latency  prometheus.Histogram
	retries  prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foreshadow_replicator_requests_total", Help: "Requests ended, by class of status; aborted is a client that went away.",
	}, []string{"status"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foreshadow_replicator_errors_total", Help: "Requests that failed, by reason.",
	}, []string{"reason"})
	m := &Metrics{
		errors: map[string]prometheus.Counter{},
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "foreshadow_replicator_request_duration_seconds", Help: "Time from the request head to the last byte of the response.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foreshadow_replicator_retries_total", Help: "Requests that were sent to another instance.",
		}),
	}
	for _, c := range []prometheus.Collector{requests, failures, m.latency, m.retries} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the replicator: %w", err)
		}
	}
	m.requests[0] = requests.WithLabelValues("aborted")
	for i := 1; i < len(m.requests); i++ {
		m.requests[i] = requests.WithLabelValues(strconv.Itoa(i) + "xx")
	}
	for _, reason := range []string{ReasonNoInstance, ReasonUpstream, ReasonTruncated, ReasonShutdown, ReasonStatus} {
		m.errors[reason] = failures.WithLabelValues(reason)
	}
	return m, nil
}

func (m *Metrics) observe(res tap.Result, reason string) {
	m.latency.Observe(res.Latency.Seconds())
	if res.Aborted {
		m.requests[0].Inc()
		return
	}
	m.count(res.Status, reason)
}

func (m *Metrics) count(status int, reason string) {
	if class := status / 100; class > 0 && class < len(m.requests) {
		m.requests[class].Inc()
	}
	if reason != "" {
		m.errors[reason].Inc()
	}
}
