package shadowrunner

import (
	"context"
	"time"
)

const (
	// freshFor is how long after it became ready an instance is fresh: later some of its warm-up is over.
	freshFor = 2 * time.Second
	// warmupLength is how long a fresh instance is watched, warmupShare the share of its capacity it is put under.
	warmupLength = 30 * time.Second
	warmupShare  = 0.5
	// warmupTTL is how long a warm-up of one version holds.
	warmupTTL = 24 * time.Hour
)

// warmth is what is known of the warm-up of a version.
type warmth struct {
	version string
	at      time.Time
	seconds float64
}

// warmUp learns how long a fresh instance takes to full speed, when one is there and that is not known of its version; false
// when there was nothing to learn. The load must be known first: it is a share of the capacity.
func (l *lane) warmUp(ctx context.Context) bool {
	if l.known.rate() == 0 || l.reservoir.Len() < l.workload.Replay.MinRequests {
		return false
	}
	instance, release, ok := l.fleet.LeaseFresh(freshFor)
	if !ok {
		return false
	}
	defer release()
	if known := l.known.warmth(); known.version == instance.Version && time.Since(known.at).Abs() < warmupTTL {
		return false
	}
	before := time.Since(instance.ReadyTime)
	took, known, err := l.holder.Warmup(ctx, instance, l.reservoir.Mix(), warmupShare*l.known.rate(), warmupLength, l.slo())
	if err != nil || !known || !l.fleet.IsReady(instance.ID) {
		return true
	}
	learnt := warmth{version: instance.Version, at: time.Now()}
	if took > 0 {
		learnt.seconds = (before + took).Seconds()
	}
	l.log.Info("warm-up learnt", "instance", instance.ID, "duration_ms", took.Milliseconds())
	if again := l.known.warmed(learnt); again != nil {
		l.publish(again)
	}
	return true
}
