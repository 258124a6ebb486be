package workload

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is done when another controller scales production.
const (
	// RefuseOthers changes nothing and says who is in the way.
	RefuseOthers = "refuse"
	// ServeOthers leaves the changes to it.
	ServeOthers = "serve"
)

// Behavior bounds how fast the number of instances changes in one direction.
type Behavior struct {
	// Select says which of the policies rules: max (the largest change; the default), min, or disabled (no change).
	Select string `yaml:"select"`
	// Policies each bound the change within their period; none bounds nothing.
	Policies []RatePolicy `yaml:"policies"`
}

// RatePolicy bounds the change within a period.
type RatePolicy struct {
	// Type is pods, or percent of the instances at the start of the period.
	Type string `yaml:"type"`
	// Value in instances or percent.
	Value int `yaml:"value"`
	// Period the change is counted over.
	Period time.Duration `yaml:"period"`
}

// Window is a time of the week.
type Window struct {
	// Days that it begins on, sun to sat; every day when empty.
	Days []string `yaml:"days"`
	// From and To are times of the day, 15:04; a window that ends before it begins lasts over midnight.
	From string `yaml:"from"`
	// To is exclusive.
	To string `yaml:"to"`
	// Zone is that of the times, Europe/Berlin for example; UTC when empty.
	Zone string `yaml:"zone"`
}

// Rollback says when a change that removed something from production is undone.
type Rollback struct {
	// Within is how long after a change its effect on users is watched; 0 = never undone.
	Within time.Duration `yaml:"within"`
	// MinRequests must have been answered since the change before it is judged.
	MinRequests int `yaml:"min_requests"`
	// Hold is how long the size from before stays the least one after that; it doubles each time it happens again.
	Hold time.Duration `yaml:"hold"`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Contains says whether a time lies in the window. A window that is not valid contains nothing.
func (w Window) Contains(t time.Time) bool {
	zone, from, to, err := w.parse()
	if err != nil {
		return false
	}
	t = t.In(zone)
	at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	if from < to {
		return at >= from && at < to && w.begins(t.Weekday())
	}
	return at >= from && w.begins(t.Weekday()) || at < to && w.begins((t.Weekday()+6)%7)
}

func (w Window) begins(d time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, weekdays[d])
}

// String is the window as it was declared.
func (w Window) String() string {
	zone := w.Zone
	if zone == "" {
		zone = "UTC"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s-%s %s", strings.Join(w.Days, ","), w.From, w.To, zone))
}

func (w Window) parse() (zone *time.Location, from, to time.Duration, err error) {
	if zone, err = time.LoadLocation(w.Zone); err != nil {
		return nil, 0, 0, fmt.Errorf("zone: %w", err)
	}
	if from, err = timeOfDay(w.From); err != nil {
		return nil, 0, 0, err
	}
	if to, err = timeOfDay(w.To); err != nil {
		return nil, 0, 0, err
	}
	for _, d := range w.Days {
		if !slices.Contains(weekdays, d) {
			return nil, 0, 0, fmt.Errorf("want days of %s, got %q", strings.Join(weekdays, ", "), d)
		}
	}
	if from == to {
		return nil, 0, 0, fmt.Errorf("from and to are both %s", w.From)
	}
	return zone, from, to, nil
}

func timeOfDay(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("want a time like 22:30, got %q", text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

func (b Behavior) validate(key string, fault faultFunc) {
	if !slices.Contains([]string{"", "max", "min", "disabled"}, b.Select) {
		fault(key+".select", "want max, min or disabled, got %q", b.Select)
	}
	for i, p := range b.Policies {
		if p.Type != "pods" && p.Type != "percent" || p.Value < 1 || p.Period <= 0 {
			fault(fmt.Sprintf("%s.policies[%d]", key, i), "want type pods or percent, a value of at least 1 and a period, got %+v", p)
		}
	}
}

func (g Guardrails) validate(fault faultFunc) {
	if g.Mode != DryRun && g.Mode != Approve && g.Mode != Automatic {
		fault("guardrails.mode", "want dry_run, approve or automatic, got %q", g.Mode)
	}
	for key, n := range map[string]int{
		"max_step_up": g.MaxStepUp, "max_step_down": g.MaxStepDown, "max_rate_up": g.MaxRateUp, "max_rate_down": g.MaxRateDown,
		"rollback.min_requests": g.Rollback.MinRequests,
	} {
		if n < 0 {
			fault("guardrails."+key, "must not be negative, got %d", n)
		}
	}
	if g.RatePeriod <= 0 || g.VerifyTimeout <= 0 || g.StabiliseDown < 0 {
		fault("guardrails", "rate_period and verify_timeout must be positive, stabilise_down not negative")
	}
	for key, d := range map[string]time.Duration{
		"cooldown_up": g.CooldownUp, "cooldown_down": g.CooldownDown, "manual_hold": g.ManualHold,
		"rollback.within": g.Rollback.Within, "rollback.hold": g.Rollback.Hold,
	} {
		if d < 0 {
			fault("guardrails."+key, "must not be negative, got %v", d)
		}
	}
	if !(g.MaxHourlyPrice >= 0) {
		fault("guardrails.max_hourly_price", "must not be negative, got %v", g.MaxHourlyPrice)
	}
	if !slices.Contains([]string{"", RefuseOthers, ServeOthers}, g.OtherControllers) {
		fault("guardrails.other_controllers", "want refuse or serve, got %q", g.OtherControllers)
	}
	g.ScaleUp.validate("guardrails.scale_up", fault)
	g.ScaleDown.validate("guardrails.scale_down", fault)
	for i, w := range g.Maintenance {
		if _, _, _, err := w.parse(); err != nil {
			fault(fmt.Sprintf("guardrails.maintenance[%d]", i), "%v", err)
		}
	}
}

// Memory is how long changes have to be remembered for the guardrails that look back.
func (g Guardrails) Memory() time.Duration {
	longest := max(g.RatePeriod, g.CooldownUp, g.CooldownDown)
	for _, b := range []Behavior{g.ScaleUp, g.ScaleDown} {
		for _, p := range b.Policies {
			longest = max(longest, p.Period)
		}
	}
	return longest
}

// Hourly is what one instance of the given size costs per hour.
func (p Prices) Hourly(cpuCores float64, memoryBytes int64) float64 {
	return p.InstanceHour + cpuCores*p.CPUCoreHour + float64(memoryBytes)/(1<<30)*p.MemoryGiBHour
}
