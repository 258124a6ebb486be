// Package usage turns what the platform counts per instance into rates per window. It promises never to invent a rate: a
// counter that was reset, an instance seen for the first time, or a reading that is too old give none, and a platform that
// does not answer gives no window at all. Absent is not zero.
package usage

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Rates returns what each instance used between its two readings, ordered by identity. An instance is left out when it has
// no earlier reading, when a counter went back, and when its readings lie further apart than longest: the mean of a longer
// stretch is not the rate of one window.
func Rates(before map[string]platform.Usage, now []platform.Usage, longest time.Duration) []*foreshadowv1.InstanceUsage {
	var out []*foreshadowv1.InstanceUsage
	for _, u := range now {
		last, known := before[u.Instance]
		elapsed := u.Time.Sub(last.Time)
		if !known || elapsed <= 0 || elapsed > longest || wentBack(last, u) || u.MemoryBytes > math.MaxInt64 {
			continue
		}
		s := elapsed.Seconds()
		out = append(out, &foreshadowv1.InstanceUsage{
			Instance: u.Instance, CpuCores: (u.CPUSeconds - last.CPUSeconds) / s, MemoryBytes: u.MemoryBytes,
			ReceiveBytesPerSecond:  float64(u.ReceivedBytes-last.ReceivedBytes) / s,
			TransmitBytesPerSecond: float64(u.TransmittedBytes-last.TransmittedBytes) / s,
			Ready:                  u.Ready,
		})
	}
	slices.SortFunc(out, func(a, b *foreshadowv1.InstanceUsage) int { return cmp.Compare(a.Instance, b.Instance) })
	return out
}

func wentBack(a, b platform.Usage) bool {
	// Written so that NaN counts as going back.
	return !(b.CPUSeconds >= a.CPUSeconds) || math.IsInf(b.CPUSeconds, 0) ||
		b.ReceivedBytes < a.ReceivedBytes || b.TransmittedBytes < a.TransmittedBytes
}

// give notes what each instance was given.
func give(rates []*foreshadowv1.InstanceUsage, instances []platform.Instance) {
	sizes := make(map[string]platform.Size, len(instances))
	for _, i := range instances {
		sizes[i.ID] = i.Size
	}
	for _, r := range rates {
		size := sizes[r.GetInstance()]
		r.GivenCpuCores, r.GivenMemoryBytes = max(0, size.CPUCores), uint64(max(0, size.MemoryBytes))
	}
}
