package measure

import (
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	// renewAt is the share of its time to live after which a capacity is measured again, so that it does not expire while
	// the next measurement is under way.
	renewAt = 0.8
	// A measurement that was not valid is repeated after firstRetry, then after twice as long each time, at most lastRetry.
	firstRetry = 10 * time.Second
	lastRetry  = 5 * time.Minute
)

// Record is what is known of a workload's capacity. Its zero value knows nothing.
type Record struct {
	version  string
	rate     float64
	renew    time.Time // when a valid capacity is to be measured again
	failures int
	retry    time.Time
}

// Add notes a measurement.
func (r *Record) Add(m *foreshadowv1.CapacityMeasured) {
	at := m.GetMeasureTime().AsTime()
	if !m.GetValid() {
		r.retry = at.Add(min(firstRetry<<min(r.failures, 10), lastRetry))
		r.failures++
		return
	}
	ttl := m.GetExpireTime().AsTime().Sub(at)
	*r = Record{version: m.GetVersion(), rate: m.GetRequestsPerSecond(), renew: at.Add(time.Duration(renewAt * float64(ttl)))}
}

// Rate is the last valid capacity in requests per second; 0 when there is none.
func (r *Record) Rate() float64 { return r.rate }

// Due says why instances of the given version are to be measured now; empty when they are not.
func (r *Record) Due(now time.Time, version string) string {
	switch {
	case now.Before(r.retry):
		return ""
	case r.rate == 0:
		return "not known"
	case version != r.version:
		return "new version"
	case !now.Before(r.renew):
		return "old"
	}
	return ""
}
