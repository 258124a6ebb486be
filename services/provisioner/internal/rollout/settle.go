package rollout

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// settle decides what has become of the changes under way. It is pure; changed says whether the result differs.
func settle(lane journal.Lane, st platform.State, rules workload.Guardrails, now time.Time) (next journal.Lane, complete []journal.Action, changed bool) {
	if len(lane.Flights) == 0 {
		return lane, nil, false
	}
	next = lane
	next.Flights = slices.Clone(lane.Flights)
	last := &next.Flights[len(next.Flights)-1]
	if !last.Accepted {
		changed = true
		if st.Generation < last.Action.GetGeneration() {
			// It never reached the platform, so nothing was changed and there is nothing to record.
			next.Flights = next.Flights[:len(next.Flights)-1]
			if len(next.Flights) == 0 {
				return next, nil, true
			}
			last = &next.Flights[len(next.Flights)-1]
		} else {
			accept(&next, last, rules, now)
		}
	}
	for _, f := range next.Flights[:len(next.Flights)-1] {
		complete = append(complete, finish(f, st, foreshadowv1.Outcome_OUTCOME_SUPERSEDED, "a newer change took over", now))
		changed = true
	}
	next.Flights = []journal.Flight{*last}
	if outcome, why := judge(*last, st, rules.VerifyTimeout, now); outcome != foreshadowv1.Outcome_OUTCOME_UNSPECIFIED {
		done := finish(*last, st, outcome, why, now)
		complete = append(complete, done)
		next.Flights, changed = nil, true
		// One that is not verified in time holds too, and users may feel it.
		holds := outcome == foreshadowv1.Outcome_OUTCOME_APPLIED ||
			outcome == foreshadowv1.Outcome_OUTCOME_FAILED && st.Generation == done.GetGeneration()
		if holds && removes(done) && !last.Rollback && rules.Rollback.Within > 0 {
			next.Watch = &journal.Watch{Action: done, Since: now}
		}
	}
	return next, complete, changed
}

// removes says whether a change took something away, or replaced it: only that can hurt users.
func removes(a journal.Action) bool {
	return a.GetTo().GetInstances() < a.GetFrom().GetInstances() || sizeOf(a.GetTo()) != (platform.Size{})
}

// accept notes that the platform has taken the change.
func accept(lane *journal.Lane, f *journal.Flight, rules workload.Guardrails, now time.Time) {
	f.Accepted = true
	begun := f.Action.GetCreateTime().AsTime()
	lane.Generation, lane.Watch = f.Action.GetGeneration(), nil
	if f.Rollback {
		hold := rules.Rollback.Hold << min(lane.Rollbacks, maxHold)
		lane.RolledBack = guardrail.Floor{Instances: int(f.Action.GetTo().GetInstances()), Since: begun, Until: begun.Add(hold)}
		lane.Rollbacks++
	}
	changes := []guardrail.Change{{
		Time:  begun,
		Delta: int(f.Action.GetTo().GetInstances() - f.Action.GetFrom().GetInstances()),
	}}
	for _, c := range lane.Changes {
		if now.Sub(c.Time) < rules.Memory() {
			changes = append(changes, c)
		}
	}
	lane.Changes = changes
}

// judge says how a change ended, and why when that needs saying; OUTCOME_UNSPECIFIED while it is under way. More than were asked for
// may be ready: a release of the service that is rolled out has some to spare.
func judge(f journal.Flight, st platform.State, timeout time.Duration, now time.Time) (foreshadowv1.Outcome, string) {
	target, generation := int(f.Action.GetTo().GetInstances()), f.Action.GetGeneration()
	shrinks := f.Action.GetTo().GetInstances() < f.Action.GetFrom().GetInstances()
	elapsed := now.Sub(f.Action.GetCreateTime().AsTime())
	switch {
	case st.Generation < generation:
		return foreshadowv1.Outcome_OUTCOME_FAILED, "the platform has forgotten the change; it was probably started anew"
	case st.Generation > generation || st.Desired != target:
		return foreshadowv1.Outcome_OUTCOME_SUPERSEDED, fmt.Sprintf("someone else asked for %d instances", st.Desired)
	case st.Ready() >= target && (!shrinks || len(st.Instances) == target) && fitted(st, sizeOf(f.Action.GetTo())):
		return foreshadowv1.Outcome_OUTCOME_APPLIED, ""
	case elapsed < timeout:
		return foreshadowv1.Outcome_OUTCOME_UNSPECIFIED, ""
	case shrinks:
		return foreshadowv1.Outcome_OUTCOME_FAILED, fmt.Sprintf("%d instances are left after %s, %d were asked for", len(st.Instances), timeout, target)
	case st.Ready() >= target:
		return foreshadowv1.Outcome_OUTCOME_FAILED, fmt.Sprintf("not all instances have their size after %s", timeout)
	default:
		return foreshadowv1.Outcome_OUTCOME_FAILED, fmt.Sprintf("%d of %d instances are ready after %s", st.Ready(), target, timeout)
	}
}

// finish completes the record of a change.
func finish(f journal.Flight, st platform.State, outcome foreshadowv1.Outcome, why string, now time.Time) journal.Action {
	a := proto.CloneOf(f.Action.ScalingApplied)
	if f.Rollback && outcome == foreshadowv1.Outcome_OUTCOME_APPLIED {
		outcome = foreshadowv1.Outcome_OUTCOME_ROLLED_BACK
	}
	a.Outcome, a.CompleteTime = outcome, timestamppb.New(now)
	a.Reason = joined(a.Reason, why)
	a.StartupSeconds = startup(f, st).Seconds()
	return journal.Action{ScalingApplied: a}
}

func joined(reason, more string) string {
	switch {
	case more == "":
		return reason
	case reason == "":
		return more
	default:
		return reason + "; " + more
	}
}

// startup is the longest time from start to ready among the instances that were not there before the change.
func startup(f journal.Flight, st platform.State) time.Duration {
	var longest time.Duration
	for _, i := range st.Instances {
		if !i.ReadyTime.IsZero() && !slices.Contains(f.Before, i.ID) {
			longest = max(longest, i.ReadyTime.Sub(i.StartTime))
		}
	}
	return longest
}
