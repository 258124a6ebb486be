// Package demand turns windows, as they come (revised, repeated, late, with gaps), into what a decision needs: the newest
// rates, and the steps of a regular series for the forecast. A missing window is missing, never zero.
package demand

import (
	"cmp"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
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

// Step is the demand of one step of the series: the highest of its parts, each the mean over a decision interval. A step, or
// a part, of which less than half is known does not exist.
type Step struct {
	// Start of the step, a multiple of its length since the Unix epoch.
	Start time.Time
	// PerSecond is the rate in requests per second.
	PerSecond float64
}

// Tally gathers the windows of one step.
type Tally struct {
	start      time.Time
	step, part time.Duration
	parts      map[int64]seen
	covered    time.Duration
}

type seen struct {
	requests float64
	covered  time.Duration
}

// NewTally returns an empty step of a length, made of parts.
func NewTally(start time.Time, step, part time.Duration) *Tally {
	if part <= 0 || part > step {
		part = step
	}
	return &Tally{start: start, step: step, part: part, parts: map[int64]seen{}}
}

// Add takes the requests of a window that starts within the step.
func (t *Tally) Add(start time.Time, width time.Duration, requests float64) {
	key := int64(start.Sub(t.start) / t.part)
	p := t.parts[key]
	t.parts[key] = seen{p.requests + requests, p.covered + width}
	t.covered += width
}

// Complete says whether all of the step is known.
func (t *Tally) Complete() bool { return t.covered >= t.step }

// Step returns the highest of the parts; false when less than half of the step is known.
func (t *Tally) Step() (Step, bool) {
	if t.covered <= 0 || 2*t.covered < t.step {
		return Step{}, false
	}
	peak, known := 0.0, false
	for _, p := range t.parts {
		if p.covered > 0 && 2*p.covered >= t.part {
			peak, known = max(peak, p.requests/p.covered.Seconds()), true
		}
	}
	return Step{Start: t.start, PerSecond: peak}, known
}

// Times are the time scales of a track.
type Times struct {
	// Step is the length of a step, Part that of the parts whose highest it is; zero: one part.
	Step, Part time.Duration
	// Keep is how long windows are kept; a change to an older one is Missed.
	Keep time.Duration
	// Settle after its end a window counts, so that every replicator's part of it has come.
	Settle time.Duration
	// Patience after its end a step that is not complete is handed out as it is.
	Patience time.Duration
}

// Track keeps the newest windows and the steps they make up. It is not safe for concurrent use.
type Track struct {
	times  Times
	steps  map[int64]map[int64]Window // windows by start, by start of their step
	next   time.Time                  // start of the first step not handed out yet
	redo   map[int64]bool             // steps handed out to hand out again; true when that is needed
	missed bool
}

// NewTrack returns an empty track.
func NewTrack(times Times) *Track {
	return &Track{times: times, steps: map[int64]map[int64]Window{}, redo: map[int64]bool{}}
}

// Add takes a window and reports whether it is news: unseen, or of a higher revision.
func (t *Track) Add(w Window) bool {
	start := metric.WindowStart(w.Start, t.times.Step)
	if !t.next.IsZero() && start.Before(t.next.Add(-t.times.Keep)) {
		t.missed = true
		return true
	}
	key, at := start.UnixNano(), w.Start.UnixNano()
	windows := t.steps[key]
	if windows == nil {
		windows = map[int64]Window{}
		t.steps[key] = windows
	}
	if old, ok := windows[at]; ok && old.Revision >= w.Revision {
		return false
	}
	windows[at] = w
	if start.Before(t.next) {
		t.redo[key] = true
	}
	return true
}

// Missed reports, once, whether something changed that the steps handed out do not tell: history knows more.
func (t *Track) Missed() bool {
	missed := t.missed
	t.missed = false
	return missed
}

// Resume says that history was read up to a moment. All steps from then on are handed out anew, and those before it that
// are complete here: they may be newer than what was read.
func (t *Track) Resume(from time.Time) {
	t.next = metric.WindowStart(from, t.times.Step)
	for key := range t.steps {
		if key < t.next.UnixNano() {
			t.redo[key] = t.redo[key] || false
		}
	}
}

// Steps returns the steps that have become complete, or have changed, since the last call, oldest first. It forgets what is
// older than Keep.
func (t *Track) Steps(now time.Time) []Step {
	t.forget(now)
	if t.next.IsZero() {
		return nil
	}
	out := t.changed()
	end := metric.WindowStart(now.Add(-t.times.Settle), t.times.Step)
	for ; t.next.Before(end); t.next = t.next.Add(t.times.Step) {
		s, known, complete := t.step(t.next.UnixNano())
		if !complete && now.Before(t.next.Add(t.times.Step+t.times.Patience)) {
			break
		}
		if known {
			out = append(out, s)
		}
	}
	return out
}

// forget drops what is too old and begins no earlier than with the oldest window left.
func (t *Track) forget(now time.Time) {
	limit := metric.WindowStart(now.Add(-t.times.Keep), t.times.Step)
	oldest := now
	for key := range t.steps {
		start := time.Unix(0, key)
		if start.Before(limit) {
			delete(t.steps, key)
			// It was not handed out before it was forgotten: it came in a pile of old windows.
			t.missed = t.missed || !start.Before(t.next)
			continue
		}
		if start.Before(oldest) {
			oldest = start
		}
	}
	switch {
	case t.next.IsZero() && len(t.steps) > 0:
		t.next = oldest
	case !t.next.IsZero() && t.next.Before(limit):
		t.next = limit
	}
}

func (t *Track) changed() []Step {
	var out []Step
	for key, needed := range t.redo {
		s, known, complete := t.step(key)
		switch {
		case complete && known:
			out = append(out, s)
		case needed:
			t.missed = true
		}
	}
	clear(t.redo)
	slices.SortFunc(out, func(a, b Step) int { return a.Start.Compare(b.Start) })
	return out
}

func (t *Track) step(key int64) (s Step, known, complete bool) {
	tally := NewTally(time.Unix(0, key).UTC(), t.times.Step, t.times.Part)
	for _, w := range t.steps[key] {
		tally.Add(w.Start, w.Width, w.Requests)
	}
	s, known = tally.Step()
	return s, known, tally.Complete()
}

// Recent returns the settled windows of the last span, oldest first.
func (t *Track) Recent(now time.Time, span time.Duration) []Window {
	var out []Window
	for _, windows := range t.steps {
		for _, w := range windows {
			end := w.Start.Add(w.Width)
			if !end.Add(t.times.Settle).After(now) && now.Sub(end) <= span {
				out = append(out, w)
			}
		}
	}
	slices.SortFunc(out, func(a, b Window) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
	return out
}
