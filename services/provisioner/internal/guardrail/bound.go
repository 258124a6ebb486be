package guardrail

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// bounded is a target on its way through the guardrails.
type bounded struct {
	subject   Subject
	situation Situation
	at        time.Time

	target int
	hit    []string
	reason string
}

// bound sets the target when a guardrail changes it.
func (b *bounded) bound(target int, name, format string, args ...any) {
	if target == b.target {
		return
	}
	b.target = target
	if !slices.Contains(b.hit, name) {
		b.hit = append(b.hit, name)
	}
	text := fmt.Sprintf(format, args...)
	if !strings.Contains(b.reason, text) {
		b.reason = strings.TrimPrefix(b.reason+", "+text, ", ")
	}
}

func (b *bounded) limit() {
	l := b.subject.Limits
	b.bound(max(b.target, l.Min), Min, "at least %d", l.Min)
	b.bound(min(b.target, l.Max), Max, "at most %d", l.Max)
}

// stabilise lets the highest size wanted within the window win over a lower one; it never goes above what runs now.
func (b *bounded) stabilise() {
	window, now := b.subject.Rules.StabiliseDown, b.situation.Desired
	if b.target >= now {
		return
	}
	highest := b.target
	for _, w := range b.situation.Wanted {
		if b.at.Sub(w.Time) <= window {
			highest = max(highest, w.Instances)
		}
	}
	b.bound(min(highest, now), StabiliseDown, "%d were wanted within %s", highest, window)
}

func (b *bounded) step() {
	r, now := b.subject.Rules, b.situation.Desired
	if r.MaxStepUp > 0 {
		b.bound(min(b.target, now+r.MaxStepUp), MaxStepUp, "at most %d more at a time", r.MaxStepUp)
	}
	if r.MaxStepDown > 0 {
		b.bound(max(b.target, now-r.MaxStepDown), MaxStepDown, "at most %d fewer at a time", r.MaxStepDown)
	}
}

// rate bounds what is added, and what is removed, within the period. The two do not cancel out: instances that were
// replaced within the period have disturbed users all the same.
func (b *bounded) rate() {
	r, now := b.subject.Rules, b.situation.Desired
	added, removed := 0, 0
	for _, c := range b.situation.Changes {
		if b.at.Sub(c.Time) >= r.RatePeriod {
			continue
		}
		added += max(0, c.Delta)
		removed += max(0, -c.Delta)
	}
	if r.MaxRateUp > 0 {
		b.bound(min(b.target, now+max(0, r.MaxRateUp-added)), MaxRateUp, "at most %d more within %s", r.MaxRateUp, r.RatePeriod)
	}
	if r.MaxRateDown > 0 {
		b.bound(max(b.target, now-max(0, r.MaxRateDown-removed)), MaxRateDown, "at most %d fewer within %s", r.MaxRateDown, r.RatePeriod)
	}
}
