// Package guardrail decides what may be done about a recommendation. It is pure: the same situation, recommendation and time
// give the same verdict, and nothing is remembered or changed.
//
// Promises, whatever comes in: a target lies within the limits; a verdict that refuses or keeps has the target that runs
// now; a recommendation that is malformed, expired or stale changes nothing; scaling up is never delayed by the memory of
// lower recommendations.
package guardrail

import (
	"fmt"
	"math"
	"time"

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
)

// Recommendation is what was recommended for one environment.
type Recommendation struct {
	// Instances wanted.
	Instances int
	// CPUCores and NetworkBytesPerSecond per instance; 0 = no recommendation.
	CPUCores, NetworkBytesPerSecond float64
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
	b.step()
	b.rate()
	// The limits are hard: where a step would end outside them, it does not count.
	b.limit()
	v := Verdict{Kind: Apply, Target: b.target, Guardrails: b.hit}
	if len(b.hit) > 0 {
		v.Reason = fmt.Sprintf("%d recommended, %d allowed: %s", r.Instances, b.target, b.reason)
	}
	switch {
	case b.target == now.Desired && len(b.hit) > 0 && r.Instances != now.Desired:
		v.Kind = Refuse
	case b.target == now.Desired:
		v.Kind = Keep
	case s.Rules.Mode == workload.DryRun:
		v.Kind, v.Guardrails = Plan, append(v.Guardrails, DryRun)
	case b.target < now.Desired && now.Verifying:
		v.Kind, v.Target = Wait, now.Desired
	case s.Rules.Mode == workload.Approve && !now.Approved:
		v.Kind, v.Guardrails = Propose, append(v.Guardrails, Approval)
	}
	return v
}

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
		return "", ""
	}
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
