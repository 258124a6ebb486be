package forecast

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

const (
	weeksLearnt = 6  // how many weeks a usual week is the mean of
	maxFactor   = 20 // bounds what is learnt of an event, not what a person says of it
)

// known is what a calendar says of one history. The pool learns a history without events, on the clock the users live by: what
// was measured during an event is divided by the event's factor, or left out where that is not known, and a history from
// before the clocks changed is moved to where the clock of today shows the same time. Forecasts are mapped back.
//
// Without a calendar the pointer is nil, and nothing changes.
type known struct {
	schedule *calendar.Schedule
	step     time.Duration
	offset   time.Duration      // of the local clock that the fit lives by
	week     []float64          // usual demand by step of the local week; NaN where unknown, empty when steps do not divide a day
	learnt   map[string]float64 // factor by name of event
}

// learnCalendar learns the usual week and what events do from the history that starts at start.
func learnCalendar(s *calendar.Schedule, start time.Time, step time.Duration, values []float64) *known {
	if s == nil || len(values) == 0 {
		return nil
	}
	c := &known{schedule: s, step: step, learnt: map[string]float64{}}
	end := start.Add(time.Duration(len(values)) * step)
	c.offset = s.Offset(end.Add(-1))
	if step > 24*time.Hour || (24*time.Hour)%step != 0 {
		return c // there is no usual week to compare with
	}
	occurrences := s.Occurrences(start, end)
	c.learnWeek(start, values, c.touched(start, len(values), occurrences))
	c.learnEvents(start, values, occurrences)
	return c
}

// touched marks the points that any event overlaps.
func (c *known) touched(start time.Time, n int, occurrences []calendar.Occurrence) []bool {
	out := make([]bool, n)
	for _, o := range occurrences {
		from, to := c.steps(start, n, o)
		for i := from; i < to; i++ {
			out[i] = true
		}
	}
	return out
}

// steps are the points [from, to) that an occurrence overlaps.
func (c *known) steps(start time.Time, n int, o calendar.Occurrence) (from, to int) {
	from = int(max(0, o.Start.Sub(start)) / c.step)
	to = int((max(0, o.End.Sub(start)) + c.step - 1) / c.step)
	return min(from, n), min(to, n)
}

func (c *known) learnWeek(start time.Time, values []float64, touched []bool) {
	c.week = make([]float64, 7*24*time.Hour/c.step)
	count := make([]int, len(c.week))
	for i := len(values) - 1; i >= 0; i-- {
		slot := c.slot(start.Add(time.Duration(i) * c.step))
		if v := values[i]; !math.IsNaN(v) && !touched[i] && count[slot] < weeksLearnt {
			c.week[slot] += v
			count[slot]++
		}
	}
	for i, n := range count {
		c.week[i] /= float64(n) // 0/0 is NaN: unknown
	}
}

func (c *known) learnEvents(start time.Time, values []float64, occurrences []calendar.Occurrence) {
	measured, usual := map[string]float64{}, map[string]float64{}
	for _, o := range occurrences {
		if o.Effect != calendar.Learn {
			continue
		}
		from, to := c.steps(start, len(values), o)
		for i := from; i < to; i++ {
			if u := c.usual(start.Add(time.Duration(i) * c.step)); !math.IsNaN(values[i]) && u > 0 {
				measured[o.Name] += values[i]
				usual[o.Name] += u
			}
		}
	}
	for name, u := range usual {
		c.learnt[name] = min(max(measured[name]/u, 1.0/maxFactor), maxFactor)
	}
}

// slot is the step of the local week that t falls into.
func (c *known) slot(t time.Time) int { return int(c.schedule.SinceSunday(t)/c.step) % len(c.week) }

// usual is the demand of an ordinary week at t, NaN when it is not known.
func (c *known) usual(t time.Time) float64 {
	if len(c.week) == 0 {
		return math.NaN()
	}
	return c.week[c.slot(t)]
}

// at says what the events do to the step that starts at t: which factor its demand has, and whether that is worth learning
// from. Events that overlap the step in part count in part; those that coincide multiply.
func (c *known) at(t time.Time, occurrences []calendar.Occurrence) (factor float64, usable bool) {
	factor, usable = 1, true
	end := t.Add(c.step)
	for _, o := range occurrences {
		if !o.Start.Before(end) {
			break // they are in order
		}
		from, to := maxTime(o.Start, t), minTime(o.End, end)
		if !to.After(from) {
			continue
		}
		f, known := c.factor(t, o)
		usable = usable && known
		factor *= 1 + (f-1)*float64(to.Sub(from))/float64(c.step)
	}
	return factor, usable
}

// factor is what an occurrence multiplies the demand at t by, and whether that is known.
func (c *known) factor(t time.Time, o calendar.Occurrence) (factor float64, known bool) {
	switch o.Effect {
	case calendar.Multiply:
		return o.Multiplier, o.Multiplier > 0 // of nothing there is no telling what it would have been
	case calendar.Resemble:
		days := int(o.Like) - int(t.Add(c.schedule.Offset(t)).UTC().Weekday())
		own, other := c.usual(t), math.NaN()
		if len(c.week) > 0 {
			day := len(c.week) / 7
			other = c.week[(c.slot(t)+days*day+len(c.week))%len(c.week)]
		}
		if own > 0 && other > 0 {
			return min(max(other/own, 1.0/maxFactor), maxFactor), true
		}
	case calendar.Learn:
		if f, ok := c.learnt[o.Name]; ok {
			return f, true
		}
	case calendar.Ignore:
		return 1, false
	}
	// An event that is there whenever it could be compared with a usual day is one of the cycles, which the models learn.
	return 1, len(c.week) > 0 && math.IsNaN(c.usual(t))
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// ordinary is the history as it would have been without events, by the clock of its end.
func (c *known) ordinary(start time.Time, values []float64) []float64 {
	if c == nil {
		return values
	}
	n := len(values)
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	occurrences := c.schedule.Occurrences(start, start.Add(time.Duration(n)*c.step))
	for i, v := range values {
		t := start.Add(time.Duration(i) * c.step)
		for len(occurrences) > 0 && !occurrences[0].End.After(t) {
			occurrences = occurrences[1:]
		}
		factor, usable := c.at(t, occurrences)
		if !usable {
			v = math.NaN()
		}
		// Of the hour that an autumn day has twice, the later one stays.
		if to := i + c.shift(t); to >= 0 && to < n && !math.IsNaN(v) {
			out[to] = v / factor
		}
	}
	return out
}

// point is one new value as it would have been without events.
func (c *known) point(t time.Time, v float64) float64 {
	if c == nil {
		return v
	}
	factor, usable := c.at(t, c.schedule.Occurrences(t, t.Add(c.step)))
	if !usable {
		return math.NaN()
	}
	return v / factor
}

// shift is by how many steps the local clock at t is ahead of the one that the fit lives by.
func (c *known) shift(t time.Time) int {
	if c == nil {
		return 0
	}
	return int((c.schedule.Offset(t) - c.offset) / c.step)
}

// outgrown says that the clocks changed since the fit; end is when the history ends.
func (c *known) outgrown(end time.Time) bool { return c != nil && c.shift(end.Add(-1)) != 0 }

// horizon is what the calendar says of the steps that start at start: their factors, the step of the pool's forecast that
// each corresponds to by the local clock, and which events they meet.
func (c *known) horizon(start time.Time, lead, steps int) (factors []float64, at []int, names []string) {
	factors, at = make([]float64, steps), make([]int, steps)
	for k := range steps {
		factors[k], at[k] = 1, lead+k
	}
	if c == nil {
		return factors, at, nil
	}
	occurrences := c.schedule.Occurrences(start, start.Add(time.Duration(steps)*c.step))
	for k := range steps {
		t := start.Add(time.Duration(k) * c.step)
		factors[k], _ = c.at(t, occurrences)
		at[k] = max(0, lead+k+c.shift(t))
	}
	for _, o := range occurrences {
		if len(names) == 0 || names[len(names)-1] != o.Name {
			names = append(names, o.Name)
		}
	}
	return factors, at, names
}
