package calendar

import (
	"slices"
	"time"
)

// Effect is what an event does to the demand of its time.
type Effect int

// Effects.
const (
	Learn    Effect = iota // as earlier events of the name did
	Multiply               // by Occurrence.Multiplier
	Resemble               // that of Occurrence.Like
	Ignore                 // nothing is foreseen, and nothing is learnt from it
)

// Occurrence is one time an event takes place: from Start, up to End.
type Occurrence struct {
	Start, End time.Time
	Event      int // index in Calendar.Events
	Name       string
	Effect     Effect
	Multiplier float64
	Like       time.Weekday
}

// Occurrences returns all that overlap [from, to), by start.
func (s *Schedule) Occurrences(from, to time.Time) []Occurrence {
	var out []Occurrence
	for i := range s.events {
		e := &s.events[i]
		for n := e.first(from); ; n++ {
			start, end := e.nth(n)
			if !start.Before(to) {
				break
			}
			if end.After(from) {
				out = append(out, e.occurrence(i, start, end))
			}
			if e.Repeat == "" {
				break
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Occurrence) int { return a.Start.Compare(b.Start) })
	return out
}

// first is the number of a repetition that ends before from, or 0 for an event that does not repeat.
func (s *span) first(from time.Time) int {
	var every time.Duration
	switch s.Repeat {
	case "":
		return 0
	case "yearly":
		return from.Year() - s.start.Year() - 2
	case "daily":
		every = 24 * time.Hour
	default:
		every = 7 * 24 * time.Hour
	}
	return int(from.Sub(s.start)/every) - 3
}

// nth is the n-th repetition, by the local clock.
func (s *span) nth(n int) (start, end time.Time) {
	switch s.Repeat {
	case "daily":
		return s.start.AddDate(0, 0, n), s.end.AddDate(0, 0, n)
	case "weekly":
		return s.start.AddDate(0, 0, 7*n), s.end.AddDate(0, 0, 7*n)
	case "yearly":
		return s.start.AddDate(n, 0, 0), s.end.AddDate(n, 0, 0)
	}
	return s.start, s.end
}

func (s *span) occurrence(i int, start, end time.Time) Occurrence {
	o := Occurrence{Start: start, End: end, Event: i, Name: s.Name}
	switch {
	case s.Multiplier != nil:
		o.Effect, o.Multiplier = Multiply, *s.Multiplier
	case s.Like != "":
		o.Effect, o.Like = Resemble, s.like
	case s.Exclude:
		o.Effect = Ignore
	}
	return o
}

// Offset is how far the local clock is ahead of UTC at t.
func (s *Schedule) Offset(t time.Time) time.Duration {
	_, seconds := t.In(s.zone).Zone()
	return time.Duration(seconds) * time.Second
}

// SinceSunday is the time that the local clock shows at t, since the beginning of its week.
func (s *Schedule) SinceSunday(t time.Time) time.Duration {
	l := t.In(s.zone)
	clock := time.Duration(l.Hour())*time.Hour + time.Duration(l.Minute())*time.Minute + time.Duration(l.Second())*time.Second
	return time.Duration(l.Weekday())*24*time.Hour + clock + time.Duration(l.Nanosecond())
}
