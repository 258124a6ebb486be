// Package quality keeps how users fared lately, from the windows that the metrics aggregator publishes. It counts each window
// once, by its highest revision, and only what was measured: a time without windows counts nothing, and is no proof of health.
package quality

import (
	"sync"
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// maxWindows bounds what is kept per workload: an hour of windows of a second.
const maxWindows = 3600

// window is what one window of production counted.
type window struct {
	width                time.Duration
	revision             uint64
	answered, violations uint64
}

// Tracker is safe for concurrent use.
type Tracker struct {
	mu      sync.Mutex
	windows map[string]map[time.Time]window // by workload and start
}

// New returns an empty tracker.
func New() *Tracker { return &Tracker{windows: map[string]map[time.Time]window{}} }

// Observe takes a window. Those of the shadow and of usage say nothing about users.
func (t *Tracker) Observe(m *foreshadowv1.MetricsWindowed) {
	traffic := m.GetTraffic()
	if traffic == nil || m.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION || !m.GetStartTime().IsValid() {
		return
	}
	w := window{width: time.Duration(m.GetDurationSeconds() * float64(time.Second)), revision: m.GetRevision()}
	for _, s := range traffic.GetStrata() {
		w.answered += s.GetResponses()
		w.violations += s.GetSloViolations()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	windows := t.windows[m.GetWorkload()]
	if windows == nil {
		windows = map[time.Time]window{}
		t.windows[m.GetWorkload()] = windows
	}
	start := m.GetStartTime().AsTime()
	if old, known := windows[start]; known && old.revision >= w.revision {
		return
	}
	windows[start] = w
	if len(windows) > maxWindows {
		oldest := start
		for at := range windows {
			if at.Before(oldest) {
				oldest = at
			}
		}
		delete(windows, oldest)
	}
}

// Count returns the requests of a workload that were answered in windows that lie wholly within a time, and those of them
// that broke the SLO.
func (t *Tracker) Count(workload string, from, to time.Time) (answered, violations uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for start, w := range t.windows[workload] {
		if !start.Before(from) && !start.Add(w.width).After(to) {
			answered += w.answered
			violations += w.violations
		}
	}
	return answered, violations
}
