package kafka

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricNames lists every metric of the package: dashboards and alerts know them by name.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(newPublisherCollector("topic", newQueue(1))); err != nil {
		t.Fatal(err)
	}
	if _, err := newConsumerMetrics("group", registry); err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 100)
	registry.Describe(descs)
	close(descs)
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	var got []string
	for d := range descs {
		got = append(got, name.FindStringSubmatch(d.String())[1])
	}
	slices.Sort(got)
	want := []string{
		"foreshadow_kafka_chunk_retries_total",
		"foreshadow_kafka_consumed_total",
		"foreshadow_kafka_consumer_lag_records",
		"foreshadow_kafka_dead_lettered_total",
		"foreshadow_kafka_dropped_total",
		"foreshadow_kafka_fenced_total",
		"foreshadow_kafka_offset_resets_total",
		"foreshadow_kafka_published_total",
		"foreshadow_kafka_queue_bytes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
