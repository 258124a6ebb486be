package measure

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

const (
	// warmupParts is how many stretches a warm-up is looked at in; the last quarter of them is taken as full speed.
	warmupParts = 40
	// warm is how much slower than at full speed a stretch may be, for chance alone makes it that.
	warm = 1.3
	// settled is how much slower the first half of the last quarter may be than the second: more is still warming up.
	settled = 1.1
	// fewestPerPart requests make a median.
	fewestPerPart = 5
)

// Warmup puts a steady rate on an instance that has just become ready, for a length of time, and returns how long after the
// first request it came to answer as fast as in the end: caches fill, code is compiled, connections are made. false when that
// cannot be told: the instance was not at full speed within the time, or failed.
func (h *Holder) Warmup(ctx context.Context, instance platform.Instance, mix *reservoir.Mix, rate float64, length time.Duration, slo probe.SLO) (full time.Duration, known bool, err error) {
	// Nobody gives up early: a cold instance breaks any SLO.
	patient := slo
	patient.Latency = length
	s := h.newStep(instance.Address, mix, probe.Level{Rate: rate, Hold: length}, patient)
	s.begin = h.Now()
	sent, err := s.run(ctx)
	s.inFlight.Wait()
	if err != nil {
		return 0, false, fmt.Errorf("warm up at %.2f requests/s: %w", rate, err)
	}
	samples := make([]probe.Sample, sent)
	for i := range samples {
		samples[i] = s.flights[i].sample
	}
	full, known = fullSpeed(samples, length)
	return full, known, nil
}

// fullSpeed is the end of the last stretch whose median is more than warm times that of the last quarter.
func fullSpeed(samples []probe.Sample, length time.Duration) (full time.Duration, known bool) {
	var parts [warmupParts][]float64
	width := length / warmupParts
	failed := 0
	for _, s := range samples {
		i := min(warmupParts-1, int(s.Due/width))
		parts[i] = append(parts[i], s.Latency.Seconds())
		if s.Failed || s.Unanswered {
			failed++
		}
	}
	earlier, later := slices.Concat(parts[warmupParts*6/8:warmupParts*7/8]...), slices.Concat(parts[warmupParts*7/8:]...)
	end := slices.Concat(earlier, later)
	if min(len(earlier), len(later)) < fewestPerPart || failed > len(samples)/2 || median(earlier) > settled*median(later) {
		return 0, false
	}
	limit := warm * median(end)
	for i, p := range parts {
		if len(p) >= fewestPerPart && median(p) > limit {
			full = time.Duration(i+1) * width
		}
	}
	// What is slow in the last quarter never came to full speed.
	return full, full <= length*3/4
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
