package telemetry

import "github.com/prometheus/client_golang/prometheus"

var ledgerDesc = prometheus.NewDesc("foreshadow_ledger_items_total",
	"Items a hop has seen, passed on, and dropped by reason; pending ones are still in the hop.", []string{"hop", "fate", "reason"}, nil)

// Describe implements prometheus.Collector.
func (a *Admin) Describe(ch chan<- *prometheus.Desc) { ch <- ledgerDesc }

// Collect implements prometheus.Collector: it shows every ledger as metrics.
func (a *Admin) Collect(ch chan<- prometheus.Metric) {
	for _, l := range a.Ledgers() {
		emit := func(n uint64, fate, reason string) {
			ch <- prometheus.MustNewConstMetric(ledgerDesc, prometheus.UntypedValue, float64(n), l.Hop, fate, reason)
		}
		emit(l.Seen, "seen", "")
		emit(l.Passed, "passed", "")
		emit(l.Pending, "pending", "")
		for reason, n := range l.Dropped {
			emit(n, "dropped", reason)
		}
	}
}
