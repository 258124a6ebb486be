package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// saidFor is how long a refusal that goes on is not recorded again.
const saidFor = time.Minute

// consider decides on an order and acts. It reports false when it must be considered again.
func (l *Lane) consider(ctx context.Context, o *order, st platform.State) bool {
	now := l.deps.Now()
	_, paused := l.deps.Journal.Pause(l.workload)
	s := guardrail.Situation{
		Desired: st.Desired, Generation: max(l.state.Generation, st.Generation), Paused: paused, Approved: o.approved,
		Verifying: len(l.state.Flights) > 0, Changes: l.state.Changes, Wanted: l.wanted,
		ManualTime: l.manualTime(), Size: st.Size, RolledBack: l.state.RolledBack,
	}
	v := guardrail.Check(l.subject, s, o.size, now)
	if v.Kind == guardrail.Apply || v.Kind == guardrail.Plan || v.Kind == guardrail.Propose {
		// Only a change is worth asking the platform what is around it.
		var err error
		if s.Around, err = l.surroundings(ctx); err != nil {
			return false
		}
		v = guardrail.Check(l.subject, s, o.size, now)
	}
	if name, _ := guardrail.Unusable(l.subject, s, o.size, now); name == "" || name == guardrail.Paused {
		l.wanted = guardrail.Remember(l.wanted, guardrail.Want{Time: now, Instances: o.size.Instances}, l.subject.Rules.StabiliseDown)
	}
	if o.approved && v.Kind == guardrail.Apply && v.Target != o.target {
		v = guardrail.Verdict{
			Kind: guardrail.Refuse, Target: st.Desired, Guardrails: append(v.Guardrails, guardrail.Approval),
			Reason: fmt.Sprintf("%d instances were approved, by now it would be %d", o.target, v.Target),
		}
	}
	if !o.approved && v.Kind != guardrail.Propose && v.Kind != guardrail.Wait {
		l.withdraw()
	}
	switch v.Kind {
	case guardrail.Keep, guardrail.Wait:
	case guardrail.Refuse:
		l.say(l.action(o, v, st, now), foreshadowv1.Outcome_OUTCOME_REFUSED, now)
	case guardrail.Plan:
		l.say(l.action(o, v, st, now), foreshadowv1.Outcome_OUTCOME_DRY_RUN, now)
	case guardrail.Propose:
		if l.propose(o, v.Target) {
			a := l.action(o, v, st, now)
			a.ActionId += "/proposal" // the change itself may come with the same generation
			l.say(a, foreshadowv1.Outcome_OUTCOME_AWAITING_APPROVAL, now)
		}
	case guardrail.Apply:
		return l.apply(ctx, o, v, st, now)
	}
	return true
}

// action is the record as it is known when a decision is made.
func (l *Lane) action(o *order, v guardrail.Verdict, st platform.State, now time.Time) *foreshadowv1.ScalingApplied {
	r := o.recommendation
	from, to := &foreshadowv1.Sizing{Instances: int32(st.Desired)}, &foreshadowv1.Sizing{Instances: int32(v.Target)} // #nosec G115: bounded far lower
	if v.Size != (platform.Size{}) {
		// Of the old size only what is changed is needed to go back.
		from.CpuCores, from.MemoryBytes, from.NetworkBytesPerSecond = changed(st.Size, v.Size)
		to.CpuCores, to.MemoryBytes, to.NetworkBytesPerSecond = changed(v.Size, v.Size)
	}
	return &foreshadowv1.ScalingApplied{
		ActionId: fmt.Sprintf("%s/%d", l.name, r.GetGeneration()), Workload: l.workload, Environment: l.environment,
		RecommendationId: r.GetRecommendationId(), Generation: r.GetGeneration(),
		From: from, To: to,
		// A refusal is explained by what refused it; a change by what asked for it, and by what bounded it.
		Reason: joined(l.why(r), v.Reason), Guardrails: v.Guardrails, CreateTime: timestamppb.New(now), Actor: o.actor,
	}
}

// why is what a recommendation says first of the environment; of the shadow it says why that is awake or asleep.
func (l *Lane) why(r *foreshadowv1.Recommendation) string {
	ofShadow := l.environment == foreshadowv1.Environment_ENVIRONMENT_SHADOW
	for _, reason := range r.GetReasons() {
		if strings.HasPrefix(reason.GetCode(), "shadow_") == ofShadow {
			return reason.GetText()
		}
	}
	return ""
}

// changed is what of a size another one changes.
func changed(size, by platform.Size) (cpuCores float64, memoryBytes uint64, network float64) {
	if by.CPUCores > 0 {
		cpuCores = size.CPUCores
	}
	if by.MemoryBytes > 0 {
		memoryBytes = uint64(size.MemoryBytes) // #nosec G115: platforms have none below 0
	}
	if by.NetworkBytesPerSecond > 0 {
		network = size.NetworkBytesPerSecond
	}
	return cpuCores, memoryBytes, network
}

// say records what was not done, once as long as it stays the same: most recommendations repeat the last one. A proposal is
// a new one each time, and approved by the identity that its record has.
func (l *Lane) say(a *foreshadowv1.ScalingApplied, outcome foreshadowv1.Outcome, now time.Time) {
	key := fmt.Sprint(outcome, a.GetGuardrails())
	if outcome != foreshadowv1.Outcome_OUTCOME_REFUSED {
		key += fmt.Sprint(a.GetTo().GetInstances())
	}
	last, said := l.said[key]
	maps.DeleteFunc(l.said, func(_ string, at time.Time) bool { return now.Sub(at) > saidFor })
	l.said[key] = now
	if said && now.Sub(last) <= saidFor && outcome != foreshadowv1.Outcome_OUTCOME_AWAITING_APPROVAL {
		return
	}
	a.Outcome, a.CompleteTime = outcome, timestamppb.New(now)
	l.log.Info("recommendation not carried out", "outcome", outcome.String(), "guardrails", strings.Join(a.GetGuardrails(), ","),
		"recommendation_id", a.GetRecommendationId(), "reason", a.GetReason())
	l.deps.Records.Record(a)
}

// apply asks the platform. It reports false when the answer is not known, so that the order must be considered again.
func (l *Lane) apply(ctx context.Context, o *order, v guardrail.Verdict, st platform.State, now time.Time) bool {
	flight := journal.Flight{Action: journal.Action{ScalingApplied: l.action(o, v, st, now)}, Before: l.before(st)}
	next := l.state
	next.Flights = append(slices.Clone(next.Flights), flight)
	if l.commit(ctx, next, nil) != nil {
		return false
	}
	after, paused, err := l.scale(ctx, platform.Change{
		Instances: v.Target, Generation: o.size.Generation, ObservedDesired: st.Desired, Size: v.Size, Epoch: l.deps.Epoch,
	})
	switch {
	case paused:
		return l.forget(ctx) == nil
	case errors.Is(err, platform.ErrConflict):
		return l.conflict(ctx, o, st, err)
	case err != nil:
		// It may or may not have been accepted; the next observation tells.
		l.report(ctx, thePlatform, err)
		return false
	}
	l.log.Info("change begun", "desired", v.Target, "previous", st.Desired, "recommendation_id", o.recommendation.GetRecommendationId())
	clear(l.said)
	return l.settle(ctx, after) == nil
}

// scale asks the platform unless the workload was paused meanwhile.
func (l *Lane) scale(ctx context.Context, c platform.Change) (after platform.State, paused bool, err error) {
	l.gate.Lock()
	defer l.gate.Unlock()
	if _, paused = l.deps.Journal.Pause(l.workload); paused {
		return platform.State{}, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	after, err = l.deps.Platform.Scale(ctx, l.group, c)
	return after, false, err
}

// before are the instances that a change did not start. When one takes over from another that is still under way, what that
// one started counts as its own.
func (l *Lane) before(st platform.State) []string {
	if n := len(l.state.Flights); n > 0 {
		return l.state.Flights[n-1].Before
	}
	var ids []string
	for _, i := range st.Instances {
		ids = append(ids, i.ID)
	}
	return ids
}

// conflict handles a change that was fenced off. The fence may be this very change, from a try whose answer was lost.
func (l *Lane) conflict(ctx context.Context, o *order, st platform.State, cause error) bool {
	now, err := l.observe(ctx)
	if err != nil {
		return false
	}
	flight := l.state.Flights[len(l.state.Flights)-1]
	if now.Generation == flight.Action.GetGeneration() && now.Desired == int(flight.Action.GetTo().GetInstances()) {
		return l.settle(ctx, now) == nil
	}
	if l.forget(ctx) != nil {
		return false
	}
	l.say(l.action(o, guardrail.Verdict{
		Target: st.Desired, Guardrails: []string{guardrail.Conflict}, Reason: cause.Error(),
	}, st, l.deps.Now()), foreshadowv1.Outcome_OUTCOME_REFUSED, l.deps.Now())
	return true
}

// forget drops the last change under way, which was not made.
func (l *Lane) forget(ctx context.Context) error {
	next := l.state
	next.Flights = slices.Clone(next.Flights[:len(next.Flights)-1])
	return l.commit(ctx, next, nil)
}
