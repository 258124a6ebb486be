package rollout

import (
	"context"
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

// maxHold bounds how often the hold of a rollback doubles.
const maxHold = 3

// fence tells the platform, before anything else, which leadership is the present one: from then on it refuses what an
// earlier leader still has under way.
func (l *Lane) fence(ctx context.Context) error {
	f, can := l.deps.Platform.(Fencer)
	if l.fenced || l.deps.Epoch == 0 || !can {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f.Fence(call, l.group, l.deps.Epoch)
	l.report(ctx, thePlatform, err)
	l.fenced = err == nil
	return err
}

// surroundings reads what bounds a change besides the group; nothing does on a platform that does not know.
func (l *Lane) surroundings(ctx context.Context) (platform.Surroundings, error) {
	s, can := l.deps.Platform.(Surveyor)
	if !can {
		return platform.Surroundings{}, nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	around, err := s.Surroundings(call, l.group)
	l.report(ctx, thePlatform, err)
	return around, err
}

// noteManual remembers since when the size is one that somebody else has asked for.
func (l *Lane) noteManual(ctx context.Context, st platform.State) error {
	m := l.state.Manual
	if st.Foreign == (m != nil) && (m == nil || m.Desired == st.Desired) {
		return nil
	}
	next := l.state
	next.Manual = nil
	if st.Foreign {
		next.Manual = &journal.Manual{Desired: st.Desired, Time: l.deps.Now()}
		l.log.Info("somebody else changed the size", "desired", st.Desired)
	}
	return l.commit(ctx, next, nil)
}

func (l *Lane) manualTime() time.Time {
	if l.state.Manual == nil {
		return time.Time{}
	}
	return l.state.Manual.Time
}

// proceed carries a change of sizes on: the platform makes it in steps.
func (l *Lane) proceed(ctx context.Context, st platform.State) {
	n := len(l.state.Flights)
	if n == 0 {
		return
	}
	a := l.state.Flights[n-1].Action
	if size := sizeOf(a.GetTo()); size == (platform.Size{}) || fitted(st, size) {
		return
	}
	_, paused, err := l.scale(ctx, platform.Change{
		Instances: int(a.GetTo().GetInstances()), Generation: a.GetGeneration(), ObservedDesired: st.Desired, Size: sizeOf(a.GetTo()), Epoch: l.deps.Epoch,
	})
	if err != nil && !paused {
		l.log.Warn("change of sizes held up", "err", err)
	}
}

// watched is the change that would be undone now: one of sizes that is under way, or the last one that removed something.
func (l *Lane) watched() (a journal.Action, since time.Time, ok bool) {
	if n := len(l.state.Flights); n > 0 {
		f := l.state.Flights[n-1]
		if !f.Accepted || f.Rollback || sizeOf(f.Action.GetTo()) == (platform.Size{}) || l.subject.Rules.Rollback.Within == 0 {
			return a, since, false
		}
		return f.Action, f.Action.GetCreateTime().AsTime(), true
	}
	if l.state.Watch == nil {
		return a, since, false
	}
	return l.state.Watch.Action, l.state.Watch.Since, true
}

// rollBack undoes the last change when users feel it; it reports whether it began to.
func (l *Lane) rollBack(ctx context.Context, st platform.State) (begun bool, err error) {
	a, since, ok := l.watched()
	rules, now := l.subject.Rules.Rollback, l.deps.Now()
	if !ok || l.deps.Quality == nil {
		return false, nil
	}
	if l.state.Watch != nil && (now.Sub(since) > rules.Within || st.Foreign || st.Desired != int(a.GetTo().GetInstances())) {
		next := l.state
		next.Watch = nil
		if now.Sub(since) > rules.Within {
			next.Rollbacks = 0 // it was kept
		}
		return false, l.commit(ctx, next, nil)
	}
	if _, paused := l.deps.Journal.Pause(l.workload); paused {
		return false, nil
	}
	// What users felt while it was being made counts for neither side.
	begin := a.GetCreateTime().AsTime()
	reason := broken(l.slo, rules, l.count(begin.Add(-rules.Within), begin), l.count(since, now))
	if reason == "" {
		return false, nil
	}
	return l.undo(ctx, st, a, reason)
}

func (l *Lane) undo(ctx context.Context, st platform.State, a journal.Action, reason string) (bool, error) {
	now, to := l.deps.Now(), proto.CloneOf(a.GetFrom())
	// Limits may have been lowered since: what is undone for the users' sake must not take away more.
	target := max(st.Desired, min(int(to.GetInstances()), l.subject.Limits.Max))
	to.Instances = int32(target) // #nosec G115: bounded far lower
	if target == st.Desired && sizeOf(to) == (platform.Size{}) {
		next := l.state
		next.Watch = nil
		return false, l.commit(ctx, next, nil)
	}
	generation := max(l.state.Generation, st.Generation) + 1
	undone := &foreshadowv1.ScalingApplied{
		ActionId: a.GetActionId() + "/rollback", Workload: l.workload, Environment: l.environment,
		RecommendationId: a.GetRecommendationId(), Generation: generation, From: a.GetTo(), To: to,
		Reason: reason, Guardrails: []string{guardrail.RolledBack}, CreateTime: timestamppb.New(now), Actor: provisioner,
	}
	next := l.state
	next.Flights = append(slices.Clone(next.Flights), journal.Flight{Action: journal.Action{ScalingApplied: undone}, Before: l.before(st), Rollback: true})
	if err := l.commit(ctx, next, nil); err != nil {
		return false, err
	}
	after, paused, err := l.scale(ctx, platform.Change{
		Instances: target, Generation: generation, ObservedDesired: st.Desired, Size: sizeOf(to), Epoch: l.deps.Epoch,
	})
	if paused {
		return false, l.forget(ctx)
	}
	if err != nil {
		// Whether it was accepted the next observation tells; if not, the flight is dropped and users are counted again.
		l.report(ctx, thePlatform, err)
		return true, nil
	}
	l.log.Warn("change rolled back", "desired", target, "previous", st.Desired, "reason", reason)
	return true, l.settle(ctx, after)
}

// provisioner is the actor of a rollback.
const provisioner = "provisioner"

// counts are how users fared within a time.
type counts struct{ answered, violations uint64 }

func (c counts) share() float64 {
	if c.answered == 0 {
		return 0
	}
	return float64(c.violations) / float64(c.answered)
}

func (l *Lane) count(from, to time.Time) counts {
	answered, violations := l.deps.Quality.Count(l.workload, from, to)
	return counts{answered: answered, violations: violations}
}

// breach is how many times the share that the SLO allows must be broken, and how many times the share from before: half of
// a budget is spent in no time, and what was broken before the change was not broken by it.
const breach = 2

// broken says why the SLO is broken since a change, and was not before it; empty when it is not.
func broken(slo workload.SLO, rules workload.Rollback, before, after counts) string {
	allowed := max(1-slo.Quantile, slo.ErrorRatio)
	if after.answered < uint64(max(1, rules.MinRequests)) || after.share() <= breach*allowed || after.share() <= breach*before.share() {
		return ""
	}
	return fmt.Sprintf("%.1f %% of %d requests broke the SLO since the change, %.1f %% may, %.1f %% did before",
		100*after.share(), after.answered, 100*allowed, 100*before.share())
}

// sizeOf is the size of the instances in a record; zero when it was not changed.
func sizeOf(s *foreshadowv1.Sizing) platform.Size {
	return platform.Size{
		CPUCores: s.GetCpuCores(), MemoryBytes: int64(s.GetMemoryBytes()), NetworkBytesPerSecond: s.GetNetworkBytesPerSecond(), // #nosec G115: it was written from an int64
	}
}

// fitted says whether every instance has a size, and every new one will.
func fitted(st platform.State, size platform.Size) bool {
	for _, i := range st.Instances {
		if i.Phase != platform.Draining && !sameSize(i.Size, size) {
			return false
		}
	}
	return sameSize(st.Size, size)
}

// sameSize compares what is asked for; platforms count CPU in thousandths.
func sameSize(have, want platform.Size) bool {
	const thousandth = 0.001
	d := have.CPUCores - want.CPUCores
	return (want.CPUCores == 0 || d < thousandth && d > -thousandth) && (want.MemoryBytes == 0 || have.MemoryBytes == want.MemoryBytes)
}
