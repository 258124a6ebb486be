// Package demand turns windows, as they come (revised, repeated, late, with gaps), into what a decision needs: the newest
// rates, and the steps of a regular series for the forecast. A missing window is missing, never zero.
package demand

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Window is the demand of one window.
type Window struct {
	// Start of the window; Width is its length.
	Start time.Time
	Width time.Duration
	// Revision replaces any lower one of the same window.
	Revision uint64
	// Requests that arrived.
	Requests float64
}

// Step is the mean demand over one step of the series.
type Step struct {
	// Start of the step.
	Start time.Time
	// PerSecond is the mean rate in requests per second; NaN when less than half of the step is known.
	PerSecond float64
}

// Track keeps the newest windows and the steps they make up. It is not safe for concurrent use.
type Track struct {
	step, keep, settle time.Duration
	windows            map[int64]Window
	emitted            time.Time // end of the last step handed out
	late               bool
}

// NewTrack returns a track for steps of the given length. Windows are kept for keep; a window counts once settle has passed
// since its end, so that every replicator's part of it has come.
func NewTrack(step, keep, settle time.Duration) *Track {
	return &Track{step: step, keep: keep, settle: settle, windows: map[int64]Window{}}
}

// Add takes a window and reports whether it is news: unseen, or of a higher revision.
func (t *Track) Add(w Window) bool {
	at := w.Start.UnixNano()
	if old, ok := t.windows[at]; ok && old.Revision >= w.Revision {
		return false
	}
	t.windows[at] = w
	if w.Start.Before(t.emitted) {
		t.late = true
	}
	return true
}

// Late reports, once, whether a window came for a step already handed out.
func (t *Track) Late() bool {
	late := t.late
	t.late = false
	return late
}

// Skip marks all steps before a moment as handed out: they came from history.
func (t *Track) Skip(until time.Time) {
	if at := until.Truncate(t.step); at.After(t.emitted) {
		t.emitted = at
	}
}

// Steps returns the steps that have become complete since the last call, oldest first, and forgets windows older than keep.
func (t *Track) Steps(now time.Time) []Step {
	end := now.Add(-t.settle).Truncate(t.step)
	if t.emitted.IsZero() {
		first, ok := t.oldest()
		if !ok {
			return nil
		}
		t.emitted = first.Truncate(t.step)
	}
	var out []Step
	for t.emitted.Before(end) {
		out = append(out, Step{Start: t.emitted, PerSecond: t.mean(t.emitted)})
		t.emitted = t.emitted.Add(t.step)
	}
	for at, w := range t.windows {
		if now.Sub(w.Start) > t.keep {
			delete(t.windows, at)
		}
	}
	return out
}

func (t *Track) oldest() (time.Time, bool) {
	var first time.Time
	for _, w := range t.windows {
		if first.IsZero() || w.Start.Before(first) {
			first = w.Start
		}
	}
	return first, !first.IsZero()
}

func (t *Track) mean(from time.Time) float64 {
	var requests float64
	var covered time.Duration
	to := from.Add(t.step)
	for _, w := range t.windows {
		if !w.Start.Before(from) && w.Start.Before(to) {
			requests += w.Requests
			covered += w.Width
		}
	}
	if 2*covered < t.step || covered == 0 {
		return math.NaN()
	}
	return requests / covered.Seconds()
}

// Recent returns the settled windows of the last span, oldest first.
func (t *Track) Recent(now time.Time, span time.Duration) []Window {
	var out []Window
	for _, w := range t.windows {
		end := w.Start.Add(w.Width)
		if !end.Add(t.settle).After(now) && now.Sub(end) <= span {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b Window) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
	return out
}
