// Package window keeps the windows: what all observations of one workload, environment and stretch of time add up to, and
// what the platform reported for it. It promises that a window changes only together with its revision, its place in the
// list of changes, and its event in the outbox, and that per workload these come in the order of the commits.
package window

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Key identifies a window of either kind.
type Key struct {
	Workload    string
	Environment foreshadowv1.Environment
	// Start is in UTC, to the microsecond.
	Start time.Time
	Width time.Duration
}

func (k Key) compare(o Key) int {
	if c := k.Start.Compare(o.Start); c != 0 {
		return c
	}
	return int(k.Width - o.Width)
}

// Traffic is the content of a traffic window, or what an observation adds to it.
type Traffic struct {
	// Revision is 0 for what is not stored.
	Revision    uint64
	Strata      metric.Strata
	MaxInFlight uint32
	// MaxLag of the load generator in seconds.
	MaxLag float64
	// Confidence of the copies.
	Confidence metric.Confidence
}

// Merge adds o, but for its revision.
func (t *Traffic) Merge(o *Traffic) {
	if t.Strata == nil {
		t.Strata = metric.Strata{}
	}
	t.Strata.Merge(o.Strata)
	t.MaxInFlight = max(t.MaxInFlight, o.MaxInFlight)
	t.MaxLag = max(t.MaxLag, o.MaxLag)
	t.Confidence.Merge(o.Confidence)
}

// Proto returns the event of a traffic window.
func (t *Traffic) Proto(k Key) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: k.Workload, Environment: k.Environment, StartTime: timestamppb.New(k.Start),
		DurationSeconds: k.Width.Seconds(), Revision: t.Revision,
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{
			Strata: t.Strata.Proto(), MaxInFlight: t.MaxInFlight, MaxLagSeconds: t.MaxLag, Confidence: t.Confidence.Proto(),
		}},
	}
}

// Usage is the content of a usage window. It is written once and never revised.
type Usage struct {
	Revision  uint64
	Instances []*foreshadowv1.InstanceUsage
	Desired   int32
	Ready     int32
}

// Proto returns the event of a usage window.
func (u *Usage) Proto(k Key) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: k.Workload, Environment: k.Environment, StartTime: timestamppb.New(k.Start),
		DurationSeconds: k.Width.Seconds(), Revision: u.Revision,
		Content: &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{
			Instances: u.Instances, DesiredInstances: u.Desired, ReadyInstances: u.Ready,
		}},
	}
}

// keyColumns are keys as arrays, the way unnest takes them.
type keyColumns struct {
	workloads    []string
	environments []int16
	starts       []time.Time
	widths       []time.Duration
	// first and last start, which let the database leave out whole days.
	first, last time.Time
}

func columnsOf(keys []Key) keyColumns {
	c := keyColumns{first: time.Unix(math.MaxInt32, 0), last: time.Unix(0, 0)}
	for _, k := range keys {
		c.workloads = append(c.workloads, k.Workload)
		c.environments = append(c.environments, int16(k.Environment))
		c.starts = append(c.starts, k.Start)
		c.widths = append(c.widths, k.Width)
	}
	if len(keys) > 0 {
		c.first = slices.MinFunc(c.starts, time.Time.Compare)
		c.last = slices.MaxFunc(c.starts, time.Time.Compare)
	}
	return c
}
