package guardrail

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// resizeTolerance is the relative difference of a size below which it is left alone: each change of it disturbs.
	resizeTolerance = 0.1
	// maxResize bounds one change of a size, as a factor either way.
	maxResize = 2
)

// rolledBack keeps what a rollback went back to.
func (b *bounded) rolledBack() {
	f := b.situation.RolledBack
	if b.at.Before(f.Until) && b.target < b.situation.Desired {
		b.bound(min(max(b.target, f.Instances), b.situation.Desired), RolledBack, "fewer than %d broke the SLO lately", f.Instances)
	}
}

// cooldown lets nothing change for a while after a change.
func (b *bounded) cooldown() {
	now, r := b.situation.Desired, b.subject.Rules
	wait, word := r.CooldownUp, "added"
	if b.target < now {
		wait, word = r.CooldownDown, "removed"
	}
	if b.changedWithin(wait) {
		b.bound(now, Cooldown, "nothing is %s within %s of a change", word, wait)
	}
}

func (b *bounded) changedWithin(d time.Duration) bool {
	for _, c := range b.situation.Changes {
		if b.at.Sub(c.Time) < d {
			return true
		}
	}
	return false
}

// price bounds what is added by what it costs; what runs is not taken away for it.
func (b *bounded) price() {
	each, most := b.subject.HourlyPrice(b.situation.Size), b.subject.Rules.MaxHourlyPrice
	if each <= 0 || most <= 0 || b.target <= b.situation.Desired {
		return
	}
	affordable := int(min(math.Floor(most/each+1e-9), math.MaxInt32))
	b.bound(max(b.situation.Desired, min(b.target, affordable)), Price, "%d instances at %.4g an hour are what %.4g pays for", affordable, each, most)
}

// behavior bounds the rate as a HorizontalPodAutoscaler's behavior section does.
func (b *bounded) behavior() {
	rules := hpa.Behavior{Up: direction(b.subject.Rules.ScaleUp), Down: direction(b.subject.Rules.ScaleDown)}
	changes := make([]hpa.Change, 0, len(b.situation.Changes))
	for _, c := range b.situation.Changes {
		changes = append(changes, hpa.Change{Replicas: c.Delta, At: c.Time})
	}
	b.bound(rules.Limit(b.situation.Desired, b.target, changes, b.at), Behavior, "scale_up and scale_down do not allow more at a time")
}

func direction(b workload.Behavior) hpa.Direction {
	d := hpa.Direction{}
	switch b.Select {
	case "min":
		d.Select = hpa.SelectMin
	case "disabled":
		d.Select = hpa.SelectDisabled
	}
	for _, p := range b.Policies {
		kind := hpa.Pods
		if p.Type == "percent" {
			kind = hpa.Percent
		}
		d.Policies = append(d.Policies, hpa.Policy{Type: kind, Value: p.Value, Period: p.Period})
	}
	return d
}

// around bounds the target by what surrounds the environment: quotas and room, and disruption budgets, which lowering the
// number of instances would not ask.
func (b *bounded) around() {
	now, a := b.situation.Desired, b.situation.Around
	if a.Addable.Set && b.target > now {
		b.bound(min(b.target, now+a.Addable.N), Quota, "%s", a.Addable.Reason)
	}
	if a.Removable.Set && b.target < now {
		b.bound(max(b.target, now-a.Removable.N), Budget, "%s lets %d go", a.Removable.Reason, a.Removable.N)
	}
}

// resize sets the size that each instance is to have, when it differs enough from the one it has.
func (b *bounded) resize(r Recommendation, v *Verdict) {
	rules, now := b.subject.Rules, b.situation.Size
	if !rules.Resize || b.at.Before(b.situation.RolledBack.Until) {
		return
	}
	want := platform.Size{
		CPUCores:    resized(now.CPUCores, r.CPUCores, r.Hold),
		MemoryBytes: int64(resized(float64(now.MemoryBytes), float64(r.MemoryBytes), r.Hold)),
	}
	if want == (platform.Size{}) {
		return
	}
	each, most := b.subject.HourlyPrice(now.With(want)), rules.MaxHourlyPrice
	switch {
	case most > 0 && each > b.subject.HourlyPrice(now) && float64(b.situation.Desired)*each > most:
		v.Guardrails = append(v.Guardrails, Price)
		v.Reason = join(v.Reason, fmt.Sprintf("%d larger instances at %.4g an hour are more than %.4g pays for", b.situation.Desired, each, most))
	case len(b.situation.Around.Resizers) > 0:
		v.Guardrails = append(v.Guardrails, Resizer)
		v.Reason = join(v.Reason, strings.Join(b.situation.Around.Resizers, " and ")+" changes the size of its instances too")
	case b.changedWithin(max(rules.CooldownDown, rules.RatePeriod)):
		v.Guardrails = append(v.Guardrails, Cooldown)
		v.Reason = join(v.Reason, "no size is changed so soon after a change")
	default:
		// The bandwidth only goes along: it takes hold with new instances.
		want.NetworkBytesPerSecond = r.NetworkBytesPerSecond
		v.Size = want
	}
}

// resized is the next value on the way from one to another; 0 = leave it alone.
func resized(from, to float64, hold bool) float64 {
	if from <= 0 || to <= 0 || math.Abs(to-from) <= resizeTolerance*from || hold && to < from {
		return 0
	}
	return min(max(to, from/maxResize), from*maxResize)
}
