package shadowrunner

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
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
	if l.last == nil || l.reservoir.Len() < l.workload.Replay.MinRequests {
		return false
	}
	instance, release, ok := l.fleet.LeaseFresh(freshFor)
	if !ok {
		return false
	}
	defer release()
	if l.warm.version == instance.Version && time.Since(l.warm.at) < warmupTTL {
		return false
	}
	before := time.Since(instance.ReadyTime)
	took, known, err := l.holder.Warmup(ctx, instance, l.reservoir.Mix(), warmupShare*l.known.Rate(), warmupLength, l.slo())
	if err != nil || !known || !l.fleet.IsReady(instance.ID) {
		return true
	}
	l.warm = warmth{version: instance.Version, at: time.Now()}
	if took > 0 {
		l.warm.seconds = (before + took).Seconds()
	}
	l.log.Info("warm-up learnt", "instance", instance.ID, "duration_ms", took.Milliseconds())
	if l.last.GetVersion() == instance.Version {
		again := proto.CloneOf(l.last)
		l.announce(again)
	}
	return true
}

// announce publishes a measurement with the warm-up that is known of its version.
func (l *lane) announce(m *foreshadowv1.CapacityMeasured) {
	if l.warm.version == m.GetVersion() {
		m.WarmupSeconds = l.warm.seconds
	}
	if m.GetValid() {
		l.last = m
	}
	l.publish(m)
}
