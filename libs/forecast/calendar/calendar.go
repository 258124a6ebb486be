// Package calendar holds what people know of the future that no history tells: holidays, launches, sales, outages that must
// not be learnt from, and by which clock the users live. It is plain configuration; New turns it into a Schedule that answers
// for any stretch of time.
//
// All times are local to TimeZone, so that an event at 18:00 stays at 18:00 when the clocks change.
package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones also where the machine has none, as in a minimal container
)

// Calendar is the configuration. The zero value knows nothing.
type Calendar struct {
	// TimeZone is the clock that users live by, by its IANA name such as Europe/Berlin. It gives the events' times their
	// meaning, and daily habits keep to it over changes to and from summer time. Default: UTC.
	TimeZone string `yaml:"time_zone"`
	// Events are what is known to come, or to have been.
	Events []Event `yaml:"events"`
}

// Event is a stretch of time in which demand is not as usual. What it does is said by one of Multiplier, Like and Exclude;
// with none of them it is learnt from earlier events of the same name, and until there was one nothing is foreseen.
// Its time in the past never counts as usual demand.
type Event struct {
	// Name is what a person calls it.
	Name string `yaml:"name"`
	// Start is a local date (2026-11-27) or minute (2026-11-27 18:00).
	Start string `yaml:"start"`
	// End is when it is over, in the same form, not included. Default: one day after Start.
	End string `yaml:"end"`
	// Repeat is empty for once, or daily, weekly, yearly: before and after Start, at the same local time.
	Repeat string `yaml:"repeat"`
	// Multiplier is what it multiplies the usual demand by, in [0, 1000]; by 0 nothing comes, and nothing is learnt. Those of
	// events at the same time multiply.
	Multiplier *float64 `yaml:"multiplier"`
	// Like names the day of the week that it resembles, such as sunday for a public holiday.
	Like string `yaml:"like"`
	// Exclude says that what was measured in it is of no use: a test, an outage. Usual demand is foreseen.
	Exclude bool `yaml:"exclude"`
}

const (
	maxEvents     = 1000
	maxMultiplier = 1000
)

var repeats = []string{"", "daily", "weekly", "yearly"}

// IsZero says that there is nothing in it.
func (c Calendar) IsZero() bool { return c.TimeZone == "" && len(c.Events) == 0 }

// Validate joins everything that is wrong, each with its key.
func (c Calendar) Validate() error {
	_, err := New(c)
	return err
}

// Schedule answers which events touch a stretch of time. It is immutable and safe for concurrent use.
type Schedule struct {
	zone   *time.Location
	events []span
}

// span is an event with its times understood.
type span struct {
	Event
	start, end time.Time
	like       time.Weekday
}

// New understands a calendar, or says everything that is wrong with it.
func New(c Calendar) (*Schedule, error) {
	var errs []error
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		errs = append(errs, fmt.Errorf("time_zone: want a name such as Europe/Berlin, got %q", c.TimeZone))
		zone = time.UTC
	}
	if len(c.Events) > maxEvents {
		return nil, fmt.Errorf("events: at most %d, got %d", maxEvents, len(c.Events))
	}
	s := &Schedule{zone: zone}
	for i, e := range c.Events {
		parsed, faults := e.understand(zone)
		for _, fault := range faults {
			errs = append(errs, fmt.Errorf("events[%d]%w", i, fault))
		}
		s.events = append(s.events, parsed)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// understand returns an event with its times, and its faults: each begins with its key and a dot before it, or a colon.
func (e Event) understand(zone *time.Location) (span, []error) {
	var errs []error
	s := span{Event: e}
	var err error
	if s.start, err = local(e.Start, zone); err != nil {
		errs = append(errs, fmt.Errorf(".start: %w", err))
	}
	s.end = s.start.AddDate(0, 0, 1)
	if e.End != "" {
		if s.end, err = local(e.End, zone); err != nil {
			errs = append(errs, fmt.Errorf(".end: %w", err))
		}
	}
	if len(errs) == 0 && !s.end.After(s.start) {
		errs = append(errs, fmt.Errorf(".end: %s is not after start %s", e.End, e.Start))
	}
	if e.Name == "" {
		errs = append(errs, errors.New(".name: is missing"))
	}
	if !slices.Contains(repeats, e.Repeat) {
		errs = append(errs, fmt.Errorf(".repeat: want daily, weekly or yearly, got %q", e.Repeat))
	}
	if most := s.length(); len(errs) == 0 && most > 0 && s.end.Sub(s.start) > most {
		errs = append(errs, fmt.Errorf(".end: the event would overlap its own %s repetition", e.Repeat))
	}
	return s, append(errs, s.effect()...)
}

// effect checks what the event is said to do.
func (s *span) effect() []error {
	var errs []error
	said := 0
	if m := s.Multiplier; m != nil {
		said++
		if !(*m >= 0 && *m <= maxMultiplier) {
			errs = append(errs, fmt.Errorf(".multiplier: want a value from 0, for nothing, to %d, got %v", maxMultiplier, *m))
		}
	}
	if s.Like != "" {
		said++
		known := false
		for day := time.Sunday; day <= time.Saturday; day++ {
			if strings.EqualFold(s.Like, day.String()) {
				s.like, known = day, true
			}
		}
		if !known {
			errs = append(errs, fmt.Errorf(".like: want a day of the week such as sunday, got %q", s.Like))
		}
	}
	if s.Exclude {
		said++
	}
	if said > 1 {
		errs = append(errs, errors.New(": only one of multiplier, like and exclude can be true of an event"))
	}
	return errs
}

// length is how far apart repetitions are at least; 0 for none.
func (s *span) length() time.Duration {
	switch s.Repeat {
	case "daily":
		return 23 * time.Hour
	case "weekly":
		return (7*24 - 1) * time.Hour
	case "yearly":
		return 364 * 24 * time.Hour
	}
	return 0
}

func local(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, strings.TrimSpace(text), zone); err == nil && t.Year() >= 1970 && t.Year() <= 2200 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("want a date such as 2026-11-27 or 2026-11-27 18:00, between 1970 and 2200, got %q", text)
}
