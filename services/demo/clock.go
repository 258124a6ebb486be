package demo

import (
	"time"

	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
)

const (
	daySteps  = 120 // of the trace
	startDay  = 7   // users come from the afternoon of this day on; the days before are history
	startStep = 70  // 14:00: the shadow has time to learn before the night ends
)

// clock maps the wall clock to the trace: at anchor it is the afternoon of startDay, and a day takes day.
type clock struct {
	pace   trace.Pace
	day    time.Duration
	anchor time.Time
	scale  float64
}

func newClock(pace trace.Pace, day time.Duration, now time.Time) clock {
	peak := 0.0
	for _, v := range pace.Values {
		peak = max(peak, v)
	}
	return clock{pace: pace, day: day, anchor: now.Truncate(time.Second), scale: peakRate / peak}
}

// step is the index into the trace at a time; it may lie outside.
func (c clock) step(t time.Time) int {
	return startDay*daySteps + startStep + int(t.Sub(c.anchor)*daySteps/c.day)
}

// rate is the demand at a time in requests per second; steps are held, never interpolated: a slope between two of them would
// be knowledge that nobody had. After its last day the trace begins again, at the same time of day.
func (c clock) rate(t time.Time) float64 {
	n := len(c.pace.Values)
	return c.pace.Values[((c.step(t)%n)+n)%n] * c.scale
}

// historyStart is the wall-clock time of the trace's first step.
func (c clock) historyStart() time.Time {
	return c.anchor.Add(-time.Duration(startDay*daySteps+startStep) * c.day / daySteps).Truncate(time.Second)
}

// recorded is the time in the trace at a wall-clock time.
func (c clock) recorded(t time.Time) time.Time {
	return c.pace.Start.Add(time.Duration(c.step(t)) * c.pace.Step)
}
