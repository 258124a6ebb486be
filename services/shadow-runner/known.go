package shadowrunner

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// knowledge is what is known of the capacity of a workload, whichever runner has measured it. It is safe for concurrent use.
type knowledge struct {
	mu     sync.Mutex
	record measure.Record
	last   *foreshadowv1.CapacityMeasured // valid; never changed
	warm   warmth
}

// recall adopts what a runner has published, if it was measured against the SLO of today and is newer than what is known: what this
// runner publishes comes back, too. What is known as of the future, from a clock that was ahead, gives way to whatever came after it.
func (k *knowledge) recall(m *foreshadowv1.CapacityMeasured, slo probe.SLO, now time.Time) {
	if !m.GetValid() || m.GetSloQuantile() != slo.Quantile || m.GetSloLatencySeconds() != slo.Latency.Seconds() || !now.Before(m.GetExpireTime().AsTime()) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := m.GetMeasureTime().AsTime()
	if k.last == nil || newer(at, k.last.GetMeasureTime().AsTime(), now) {
		k.record.Add(m)
		k.last = m
	}
	if m.GetWarmupSeconds() > 0 && newer(at, k.warm.at, now) {
		k.warm = warmth{version: m.GetVersion(), at: at, seconds: m.GetWarmupSeconds()}
	}
}

// newer says whether what comes with a time replaces what is known as of another.
func newer(at, known, now time.Time) bool { return at.After(known) || known.After(now) }

// add notes what was measured here, and says with it what is known of the version's warm-up.
func (k *knowledge) add(m *foreshadowv1.CapacityMeasured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record.Add(m)
	if k.warm.version == m.GetVersion() {
		m.WarmupSeconds = k.warm.seconds
	}
	if m.GetValid() {
		k.last = m
	}
}

// warmed notes a warm-up, and returns the last measurement as it is to be published again; nil when that was of another version.
func (k *knowledge) warmed(w warmth) *foreshadowv1.CapacityMeasured {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.warm = w
	if k.last == nil || k.last.GetVersion() != w.version {
		return nil
	}
	k.last = proto.CloneOf(k.last)
	k.last.WarmupSeconds = w.seconds
	return k.last
}

// warmth is what is known of the warm-up of the version that was watched last.
func (k *knowledge) warmth() warmth {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.warm
}

// rate is the last valid capacity in requests per second; 0 when there is none.
func (k *knowledge) rate() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Rate()
}

// due is measure.Record's Due, with the steps to go on from.
func (k *knowledge) due(now time.Time, of platform.Instance, mix []*foreshadowv1.StratumShare, requests float64) (why string, before []probe.Step) {
	k.mu.Lock()
	defer k.mu.Unlock()
	why = k.record.Due(now, of, mix, requests)
	return why, k.record.Before(why)
}
