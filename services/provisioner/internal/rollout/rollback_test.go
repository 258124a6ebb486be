package rollout

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func TestChangeThatUsersFeelIsRolledBack(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"by the same process": false, "after kill -9": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.offer(7, 3)
			r.steps(1)
			if r.cluster.state.Desired != 3 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_APPLIED {
				t.Fatalf("state %+v, recorded %v", r.cluster.state, r.last())
			}
			r.users.since = 0.3
			if restart {
				r.restart()
			}
			r.steps(3)
			if r.cluster.state.Desired != 6 {
				t.Fatalf("desired %d, want the size from before", r.cluster.state.Desired)
			}
			a := r.last()
			if a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK || a.GetActor() != provisioner || a.GetTo().GetInstances() != 6 ||
				!strings.Contains(a.GetReason(), "30.0 %") || !slices.Equal(a.GetGuardrails(), []string{guardrail.RolledBack}) {
				t.Errorf("recorded %v", a)
			}
			// The size is held: no flapping.
			r.users.since = 0
			r.offer(a.GetGeneration()+1, 3)
			r.steps(1)
			if r.cluster.state.Desired != 6 || r.last().GetGuardrails()[0] != guardrail.RolledBack {
				t.Errorf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
			}
			r.now = r.now.Add(10 * time.Minute)
			r.offer(a.GetGeneration()+2, 3)
			r.steps(1)
			if r.cluster.state.Desired != 3 {
				t.Errorf("desired %d, want it tried again after the hold", r.cluster.state.Desired)
			}
		})
	}
}

func TestHoldDoublesUntilAChangeIsKept(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 6, func(w *workload.Workload) { w.Guardrails.Rollback.Hold = 10 * time.Second })
	generation := uint64(10)
	shrink := func() time.Duration {
		generation += 10
		r.offer(generation, 3)
		r.users.from, r.users.since = r.now, 0
		r.steps(1)
		r.users.since = 0.5
		r.steps(3)
		if r.cluster.state.Desired != 6 {
			t.Fatalf("not rolled back: %+v", r.cluster.state)
		}
		hold := r.lane.state.RolledBack.Until.Sub(r.last().GetCreateTime().AsTime())
		r.now = r.lane.state.RolledBack.Until
		return hold
	}
	var got []time.Duration
	for range 5 {
		got = append(got, shrink())
	}
	if want := []time.Duration{10e9, 20e9, 40e9, 80e9, 80e9}; !slices.Equal(got, want) {
		t.Errorf("holds %v, want %v", got, want)
	}
	r.users.since = 0
	generation += 10
	r.offer(generation, 3)
	r.steps(1)
	r.now = r.now.Add(4 * time.Minute)
	r.steps(1)
	if r.lane.state.Rollbacks != 0 || r.lane.state.Watch != nil {
		t.Errorf("after a change that was kept: %+v", r.lane.state)
	}
}

func TestWhatIsNotRolledBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		to            int32
		before, since float64
		meddle        func(*carerig)
	}{
		"users are well":             {to: 3, since: 0.05},
		"it was as bad before":       {to: 3, before: 0.2, since: 0.3},
		"instances were added":       {to: 8, since: 0.5},
		"too few requests to judge":  {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.subject.Rules.Rollback.MinRequests = 1e6 }},
		"it is switched off":         {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.subject.Rules.Rollback.Within = 0 }},
		"a person pauses":            {to: 3, since: 0.5, meddle: func(r *carerig) { _ = r.journal.SetPause("shop", journal.Pause{}) }},
		"a person has come since":    {to: 3, since: 0.5, meddle: func(r *carerig) { r.cluster.resize(4); r.cluster.state.Foreign = true }},
		"it has been long since":     {to: 3, since: 0.5, meddle: func(r *carerig) { r.now = r.now.Add(4 * time.Minute) }},
		"nobody knows how users are": {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.deps.Quality = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.users.before = test.before
			r.offer(7, test.to)
			r.steps(1)
			r.users.since = test.since
			if test.meddle != nil {
				test.meddle(r)
			}
			before := len(r.cluster.changes)
			r.steps(5)
			if len(r.cluster.changes) != before {
				t.Errorf("changed %+v", r.cluster.changes[before:])
			}
		})
	}
}

// TestChangeThatIsNotVerifiedIsWatched: what drains for longer than the timeout is gone for users all the same.
func TestChangeThatIsNotVerifiedIsWatched(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 6, nil)
	r.cluster.lingers = 3
	r.offer(7, 3)
	r.steps(1)
	r.now = r.now.Add(r.workload.Guardrails.VerifyTimeout)
	r.steps(1)
	if r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_FAILED {
		t.Fatalf("recorded %v", r.last())
	}
	r.users.since = 0.4
	r.steps(3)
	if r.cluster.state.Desired != 6 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
		t.Errorf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
	}
}

// severed is a cluster whose next changes do not arrive.
type severed struct {
	*cluster
	lost int
}

func (s *severed) Scale(ctx context.Context, group string, c platform.Change) (platform.State, error) {
	if s.lost > 0 {
		s.lost--
		return platform.State{}, errCut
	}
	return s.cluster.Scale(ctx, group, c)
}

func TestRollbackThatNeverArrivedIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"by the same process": false, "after kill -9": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.offer(7, 3)
			r.steps(1)
			r.users.since = 0.4
			r.now = r.now.Add(2 * time.Second)
			r.lane.deps.Platform = &severed{cluster: r.cluster, lost: 2}
			r.step()
			if restart {
				r.restart()
			}
			r.steps(4)
			if r.cluster.state.Desired != 6 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
				t.Fatalf("state %+v, recorded %v", r.cluster.state, r.last())
			}
			// What never arrived was no rollback: the hold is that of the first.
			if hold := r.lane.state.RolledBack.Until.Sub(r.last().GetCreateTime().AsTime()); hold != 10*time.Minute {
				t.Errorf("held for %v", hold)
			}
		})
	}
}

// TestRollbackWithinALowerLimit: the file was changed while the change was watched.
func TestRollbackWithinALowerLimit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{5: 5, 4: 4, 2: 4} {
		r := newCareRig(t, 6, nil)
		r.offer(7, 4)
		r.steps(1)
		r.workload.Instances.Max = limit
		r.restart()
		r.users.since = 0.4
		r.steps(4)
		if r.cluster.state.Desired != want || r.lane.state.Watch != nil {
			t.Errorf("at most %d: %d instances, want %d; watched %v", limit, r.cluster.state.Desired, want, r.lane.state.Watch)
		}
		if want > 4 && r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
			t.Errorf("at most %d: recorded %v", limit, r.last())
		}
	}
}

func TestSizeThatUsersFeelGoesBack(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 3, nil)
	r.offerSize(7, 0.5)
	r.step()
	r.users.since = 0.9
	r.now = r.now.Add(2 * time.Second)
	r.steps(4)
	if !fitted(r.cluster.state, platform.Size{CPUCores: 1}) {
		t.Errorf("state %+v, want the size from before", r.cluster.state)
	}
	if got := r.outcomes(); !slices.Equal(got, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_SUPERSEDED, foreshadowv1.Outcome_OUTCOME_ROLLED_BACK}) {
		t.Errorf("recorded %v", got)
	}
}

func TestSizesAreNotTakenBackWhereRollbacksAreOff(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 3, func(w *workload.Workload) { w.Guardrails.Rollback = workload.Rollback{} })
	r.offerSize(7, 0.5)
	r.step()
	r.users.since = 0.9
	r.now = r.now.Add(2 * time.Second)
	r.steps(4)
	if !fitted(r.cluster.state, platform.Size{CPUCores: 0.5}) {
		t.Errorf("state %+v, recorded %v", r.cluster.state, r.last())
	}
}
