package ingest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

const (
	// maxCount bounds a counter of one observation, so that a window of any number of them fits a bigint.
	maxCount = 1 << 48
	// maxSum bounds a sum of half-widths or of latencies, so that sums of any number of them stay finite.
	maxSum = 1e100
	// maxName bounds the parts of a key, so that an index can hold them.
	maxName = 512
	// maxAhead is how far a producer's clock may be ahead.
	maxAhead = time.Hour
)

// observation is one record that can be merged.
type observation struct {
	record kafka.Record
	key    window.Key
	delta  *window.Traffic
}

// bounds are what an observation is held against.
type bounds struct {
	width     time.Duration
	retention time.Duration
	now       present
}

// present is the earlier and the later of the clocks that say what time it is.
type present struct{ first, last time.Time }

// ahead is an error for a time that no clock is near yet.
func (p present) ahead(field string, at time.Time) error {
	if at.After(p.last.Add(maxAhead)) {
		return fmt.Errorf("%s: %s is more than %s ahead", field, at.Format(time.RFC3339), maxAhead)
	}
	return nil
}

// read turns a record into an observation. Its error says why that can never be done: every fault that the database would
// refuse is found here, for there it would hold up the partition forever.
func (b bounds) read(r kafka.Record) (observation, error) {
	var m foreshadowv1.MetricsObserved
	if err := r.Decode(&m); err != nil {
		return observation{}, err
	}
	key, err := b.keyOf(&m)
	if err != nil {
		return observation{}, err
	}
	for _, t := range m.Traffic {
		if err := checkTraffic(t); err != nil {
			return observation{}, err
		}
	}
	strata, err := metric.StrataFromProto(m.Traffic)
	if err != nil {
		return observation{}, err
	}
	if !(m.MaxLagSeconds >= 0) || math.IsInf(m.MaxLagSeconds, 0) {
		return observation{}, fmt.Errorf("max_lag_seconds: %v is not a finite, non-negative number", m.MaxLagSeconds)
	}
	confidence, err := metric.ConfidenceFromProto(m.Confidence)
	if err != nil {
		return observation{}, err
	}
	if confidence.Responses > maxCount || confidence.P95Sum > maxSum || confidence.DesignSum > maxSum {
		return observation{}, fmt.Errorf("confidence: sums of %d responses are beyond belief", confidence.Responses)
	}
	delta := &window.Traffic{Strata: strata, MaxInFlight: m.MaxInFlight, MaxLag: m.MaxLagSeconds, Confidence: confidence}
	return observation{record: r, key: key, delta: delta}, nil
}

// keyOf finds the window an observation belongs to: the one that holds its start. It must end in the same window, since
// counters cannot be divided.
func (b bounds) keyOf(m *foreshadowv1.MetricsObserved) (window.Key, error) {
	if err := checkName("workload", m.Workload); err != nil {
		return window.Key{}, err
	}
	if m.Workload == "" {
		return window.Key{}, errors.New("workload: is empty")
	}
	if m.Environment != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION && m.Environment != foreshadowv1.Environment_ENVIRONMENT_SHADOW {
		return window.Key{}, fmt.Errorf("environment: %s is not one to observe", m.Environment)
	}
	if err := m.StartTime.CheckValid(); err != nil {
		return window.Key{}, fmt.Errorf("start_time: %w", err)
	}
	start := m.StartTime.AsTime()
	if start.Before(b.now.first.Add(-b.retention)) {
		return window.Key{}, fmt.Errorf("start_time: %s is older than the retention of %s", start.Format(time.RFC3339), b.retention)
	}
	if err := b.now.ahead("start_time", start); err != nil {
		return window.Key{}, err
	}
	if !(m.DurationSeconds > 0) || m.DurationSeconds > b.width.Seconds() {
		return window.Key{}, fmt.Errorf("duration_seconds: %v is not above 0 and at most the window of %s", m.DurationSeconds, b.width)
	}
	windowStart := metric.WindowStart(start, b.width)
	end := start.Add(time.Duration(math.Round(m.DurationSeconds * float64(time.Second))))
	if end.After(windowStart.Add(b.width)) {
		return window.Key{}, fmt.Errorf("start_time: %s plus %v s spans more than one window of %s",
			start.Format(time.RFC3339Nano), m.DurationSeconds, b.width)
	}
	return window.Key{Workload: m.Workload, Environment: m.Environment, Start: windowStart, Width: b.width}, nil
}

func checkTraffic(t *foreshadowv1.Traffic) error {
	s := t.GetStratum()
	for field, value := range map[string]string{
		"route": s.GetRoute(), "geography": s.GetGeography(), "device": s.GetDevice(), "network": s.GetNetwork(),
	} {
		if err := checkName("traffic.stratum."+field, value); err != nil {
			return err
		}
	}
	counters := append([]uint64{t.GetRequests(), t.GetResponses(), t.GetErrors(), t.GetSloViolations(),
		t.GetRequestBytes(), t.GetResponseBytes(), t.GetSampled(), t.GetLatency().GetZeroCount()}, t.GetLatency().GetCounts()...)
	for _, n := range counters {
		if n > maxCount {
			return fmt.Errorf("traffic of stratum %q: a counter of %d is beyond belief", s.GetRoute(), n)
		}
	}
	if sum := t.GetLatency().GetSumSeconds(); sum > maxSum {
		return fmt.Errorf("traffic of stratum %q: latencies of %v s are beyond belief", s.GetRoute(), sum)
	}
	return nil
}

// checkName keeps out what a text column or an index cannot hold.
func checkName(field, value string) error {
	if len(value) > maxName {
		return fmt.Errorf("%s: has %d bytes, more than %d", field, len(value), maxName)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("%s: holds a zero byte", field)
	}
	return nil
}
