// Package guardrail decides what may be done about a recommendation. It is pure: the same situation, recommendation and time
// give the same verdict, and nothing is remembered or changed.
//
// Promises, whatever comes in: a target lies within the limits, or, where quotas and disruption budgets do not let it get there
// at once, no farther from them than what runs now; a verdict that refuses or keeps has the target that runs now; a
// recommendation that is malformed, expired or stale changes nothing; scaling up is never delayed by the memory of
// lower recommendations.
package guardrail

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Names of the guardrails, as they stand in ScalingApplied.guardrails.
const (
	Invalid       = "invalid"
	Expired       = "expired"
	Generation    = "generation"
	Paused        = "pause"
	Hold          = "hold"
	Min           = "min"
	Max           = "max"
	StabiliseDown = "stabilise_down"
	MaxStepUp     = "max_step_up"
	MaxStepDown   = "max_step_down"
	MaxRateUp     = "max_rate_up"
	MaxRateDown   = "max_rate_down"
	DryRun        = "dry_run"
	Approval      = "approval"
	Conflict      = "conflict"
	Maintenance   = "maintenance"
	ManualChange  = "manual_change"
	Controller    = "other_controller"
	Resizer       = "other_resizer"
	Cooldown      = "cooldown"
	Behavior      = "behavior"
	Price         = "price"
	Quota         = "quota"
	Budget        = "disruption_budget"
	RolledBack    = "rollback"
)

// Recommendation is what was recommended for one environment.
type Recommendation struct {
	// Instances wanted.
	Instances int
	// CPUCores and NetworkBytesPerSecond per instance; 0 = no recommendation.
	CPUCores, NetworkBytesPerSecond float64
	// MemoryBytes per instance; 0 = no recommendation.
	MemoryBytes uint64
	// Generation of the recommendation; 0 is not valid.
	Generation uint64
	// ExpireTime after which it must not be carried out; the zero time is not valid.
	ExpireTime time.Time
	// Hold: it was made without the data to judge, so it must not remove anything.
	Hold bool
}

// Subject is what is scaled, and within which bounds.
type Subject struct {
	// Limits in instances.
	Limits workload.Limits
	// MaySleep: a recommendation of 0 instances is meant so, and not missing.
	MaySleep bool
	// Rules are the bounds of a change; their mode is how far it may go without a person.
	Rules workload.Guardrails
	// Prices of instances, and the Declared size of one, for where the platform does not say.
	Prices   workload.Prices
	Declared platform.Size
}

// HourlyPrice is the price of one instance of a size for an hour; 0 = not known.
func (s Subject) HourlyPrice(size platform.Size) float64 {
	size = s.Declared.With(size)
	return s.Prices.Hourly(size.CPUCores, size.MemoryBytes)
}

// Situation is what is known of the environment when the decision is made.
type Situation struct {
	// Desired is the number of instances the platform was last asked for.
	Desired int
	// Generation of the newest recommendation that was acted upon, by whomever.
	Generation uint64
	// Paused holds every change.
	Paused bool
	// Approved: a person has approved this recommendation.
	Approved bool
	// Verifying: the last change is still being carried out.
	Verifying bool
	// Changes were made lately, in any order; those older than the rate period do not count.
	Changes []Change
	// Wanted are the sizes recommended lately, and the size that ran when the memory began.
	Wanted []Want
	// ManualTime is when somebody else was seen to have asked for Desired; zero when nobody has.
	ManualTime time.Time
	// Around is what besides the environment itself bounds a change.
	Around platform.Surroundings
	// Size is what each instance is given now.
	Size platform.Size
	// RolledBack is the size that a rollback has gone back to, and holds.
	RolledBack Floor
}

// Floor is the least number of instances for a while.
type Floor struct {
	// Instances at least, and no change of their size.
	Instances int `json:"instances"`
	// Since when, and until when.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// Change is one that was made.
type Change struct {
	// Time when.
	Time time.Time `json:"time"`
	// Delta in instances; negative when removed.
	Delta int `json:"delta"`
}

// Want is a size that was recommended.
type Want struct {
	Time      time.Time
	Instances int
}

// Kind is what is to be done.
type Kind int

// Kinds of verdict.
const (
	// Keep: what runs is what is wanted.
	Keep Kind = iota
	// Refuse: guardrails do not let anything change.
	Refuse
	// Wait: not while the last change is being carried out; a later recommendation will say it again.
	Wait
	// Plan: say what would be done (dry run).
	Plan
	// Propose: a person must approve it.
	Propose
	// Apply: change it.
	Apply
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"keep", "refuse", "wait", "plan", "propose", "apply"}[k]
}

// Verdict is what may be done.
type Verdict struct {
	Kind Kind
	// Target size in instances; what runs now unless the kind is Plan, Propose or Apply.
	Target int
	// Size that each instance is to have; zero = as it is. Number and size are never changed at once.
	Size platform.Size
	// Guardrails that changed or refused the recommendation.
	Guardrails []string
	// Reason says what they did; empty when none did anything.
	Reason string
}

// Check decides.
func Check(s Subject, now Situation, r Recommendation, at time.Time) Verdict {
	if name, reason := Unusable(s, now, r, at); name != "" {
		return Verdict{Kind: Refuse, Target: now.Desired, Guardrails: []string{name}, Reason: reason}
	}
	b := bounded{subject: s, situation: now, target: r.Instances, at: at}
	b.limit()
	if r.Hold {
		b.bound(max(b.target, now.Desired), Hold, "nothing is removed without data")
	}
	b.stabilise()
	b.rolledBack()
	b.cooldown()
	b.price()
	b.behavior()
	b.step()
	b.rate()
	// The limits are hard: where a step would end outside them, it does not count.
	b.limit()
	b.around()
	v := Verdict{Kind: Apply, Target: b.target, Guardrails: b.hit}
	if len(b.hit) > 0 {
		v.Reason = fmt.Sprintf("%d recommended, %d allowed: %s", r.Instances, b.target, b.reason)
	}
	if b.target == now.Desired {
		b.resize(r, &v)
	}
	return permit(s, now, r, v)
}

// permit says how far a change may go by itself.
func permit(s Subject, now Situation, r Recommendation, v Verdict) Verdict {
	same := v.Target == now.Desired && v.Size == (platform.Size{})
	shrinks := v.Target < now.Desired || v.Size != (platform.Size{})
	switch {
	case same && len(v.Guardrails) > 0 && (r.Instances != now.Desired || v.Reason != ""):
		v.Kind = Refuse
	case same:
		v.Kind = Keep
	case len(now.Around.Controllers) > 0:
		v.Kind, v.Guardrails = Plan, append(v.Guardrails, Controller)
		v.Reason = join(v.Reason, strings.Join(now.Around.Controllers, " and ")+" carries it out")
	case s.Rules.Mode == workload.DryRun:
		v.Kind, v.Guardrails = Plan, append(v.Guardrails, DryRun)
	case shrinks && now.Verifying:
		v.Kind, v.Target, v.Size = Wait, now.Desired, platform.Size{}
	case s.Rules.Mode == workload.Approve && !now.Approved:
		v.Kind, v.Guardrails = Propose, append(v.Guardrails, Approval)
	}
	return v
}

func join(reason, more string) string { return strings.TrimPrefix(reason+"; "+more, "; ") }

// Unusable names the guardrail that keeps the recommendation from being considered at all, and why; empty when none does.
func Unusable(s Subject, now Situation, r Recommendation, at time.Time) (name, reason string) {
	switch {
	case r.Instances < 0 || r.Instances == 0 && !s.MaySleep:
		return Invalid, fmt.Sprintf("%d instances is not a size", r.Instances)
	case !amount(r.CPUCores):
		return Invalid, fmt.Sprintf("%v CPU cores is not a size", r.CPUCores)
	case !amount(r.NetworkBytesPerSecond):
		return Invalid, fmt.Sprintf("%v bytes per second is not a bandwidth", r.NetworkBytesPerSecond)
	case r.Generation == 0:
		return Invalid, "the recommendation has no generation"
	case r.ExpireTime.IsZero():
		return Invalid, "the recommendation has no expiry"
	case !at.Before(r.ExpireTime):
		return Expired, fmt.Sprintf("the recommendation expired at %s", r.ExpireTime.UTC().Format(time.RFC3339Nano))
	case r.Generation < now.Generation:
		return Generation, fmt.Sprintf("generation %d is older than %d, which was acted upon", r.Generation, now.Generation)
	case now.Paused:
		return Paused, "provisioning is paused"
	default:
		return occupied(s, now, at)
	}
}

// occupied names who else works on the environment.
func occupied(s Subject, now Situation, at time.Time) (name, reason string) {
	for _, w := range s.Rules.Maintenance {
		if w.Contains(at) {
			return Maintenance, fmt.Sprintf("nothing is changed during maintenance (%s)", w)
		}
	}
	if until := now.ManualTime.Add(s.Rules.ManualHold); !now.ManualTime.IsZero() && at.Before(until) {
		return ManualChange, fmt.Sprintf("somebody else has asked for %d instances, which is left alone until %s", now.Desired, until.UTC().Format(time.RFC3339))
	}
	if len(now.Around.Controllers) > 0 && s.Rules.OtherControllers != workload.ServeOthers {
		return Controller, fmt.Sprintf("%s scales it too: remove it, or set guardrails.other_controllers: serve to let it carry the recommendation out",
			strings.Join(now.Around.Controllers, " and "))
	}
	return "", ""
}

func amount(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }

// Remember adds a size to the memory that stabilises, and forgets what is older than the window.
func Remember(wanted []Want, w Want, window time.Duration) []Want {
	kept := make([]Want, 0, len(wanted)+1)
	for _, old := range wanted {
		if w.Time.Sub(old.Time) <= window {
			kept = append(kept, old)
		}
	}
	return append(kept, w)
}
