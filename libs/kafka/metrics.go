package kafka

import "github.com/prometheus/client_golang/prometheus"

// publisherCollector reads the ledger when it is scraped, so the metrics cannot disagree with it.
type publisherCollector struct {
	queue                          *queue
	published, dropped, queueBytes *prometheus.Desc
}

func newPublisherCollector(topic string, q *queue) *publisherCollector {
	labels := prometheus.Labels{"topic": topic}
	return &publisherCollector{
		queue: q,
		published: prometheus.NewDesc("foreshadow_kafka_published_total",
			"Messages acknowledged by all in-sync replicas.", nil, labels),
		dropped: prometheus.NewDesc("foreshadow_kafka_dropped_total",
			"Messages offered for publishing and given up.", []string{"reason"}, labels),
		queueBytes: prometheus.NewDesc("foreshadow_kafka_queue_bytes",
			"Bytes queued or in flight.", nil, labels),
	}
}

// Describe implements prometheus.Collector.
func (c *publisherCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.published
	ch <- c.dropped
	ch <- c.queueBytes
}

// Collect implements prometheus.Collector.
func (c *publisherCollector) Collect(ch chan<- prometheus.Metric) {
	ledger, bytes := c.queue.snapshot()
	ch <- prometheus.MustNewConstMetric(c.published, prometheus.CounterValue, float64(ledger.Published))
	// Every reason is there from the start: a rate over a series that appears with its first drop misses that drop.
	for _, reason := range []string{ReasonQueueFull, ReasonTooLarge, ReasonEncode, ReasonRejected, ReasonClosed, ReasonShutdown} {
		ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(ledger.Dropped[reason]), reason)
	}
	ch <- prometheus.MustNewConstMetric(c.queueBytes, prometheus.GaugeValue, float64(bytes))
}

// consumerMetrics count what a consumer did. They work unregistered too.
type consumerMetrics struct {
	consumed, deadLettered, fenced, resets, retries *prometheus.CounterVec
	lag                                             *prometheus.GaugeVec
}

func newConsumerMetrics(group string, r prometheus.Registerer) (*consumerMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "foreshadow_kafka_" + name, Help: help, ConstLabels: prometheus.Labels{"group": group},
		}, labels)
	}
	m := &consumerMetrics{
		consumed:     counter("consumed_total", "Records handled and committed.", "topic"),
		deadLettered: counter("dead_lettered_total", "Records set aside in the topic's .dlq.", "topic"),
		fenced:       counter("fenced_total", "Chunks refused because another owner had moved the offset.", "topic"),
		resets:       counter("offset_resets_total", "Stored offsets that the broker no longer had.", "topic"),
		retries:      counter("chunk_retries_total", "Chunks handled again after an error.", "topic"),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "foreshadow_kafka_consumer_lag_records", Help: "Records between the committed offset and the end of the partition.",
			ConstLabels: prometheus.Labels{"group": group},
		}, []string{"topic", "partition"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.consumed, m.deadLettered, m.fenced, m.resets, m.retries, m.lag} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
