package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// of is a lane that remembers something of every kind, all of one time.
func of(at time.Time) journal.Lane {
	action := journal.Action{ScalingApplied: &foreshadowv1.ScalingApplied{ActionId: "a", CreateTime: timestamppb.New(at)}}
	return journal.Lane{
		Generation: 7, Changes: []guardrail.Change{{Time: at, Delta: 2}}, Flights: []journal.Flight{{Action: action, Accepted: true}},
		Watch: &journal.Watch{Action: action, Since: at}, Manual: &journal.Manual{Desired: 3, Time: at},
		RolledBack: guardrail.Floor{Instances: 4, Since: at, Until: at.Add(20 * time.Minute)}, Rollbacks: 1,
	}
}

func TestWhatLiesInTheFutureIsOfThePresent(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Time{"past": noon.Add(-time.Hour), "now": noon} {
		lane := of(at)
		if next, changed := present(lane, noon); changed || !cmp.Equal(lane, next, protocmp.Transform()) {
			t.Errorf("%s: changed by %s", name, cmp.Diff(lane, next, protocmp.Transform()))
		}
	}
	future, want := of(noon.Add(time.Hour)), of(noon)
	next, changed := present(future, noon)
	if diff := cmp.Diff(want, next, protocmp.Transform()); !changed || diff != "" {
		t.Errorf("changed %v:\n%s", changed, diff)
	}
	if diff := cmp.Diff(of(noon.Add(time.Hour)), future, protocmp.Transform()); diff != "" {
		t.Errorf("what it was made of was changed:\n%s", diff)
	}
}

// An hour back: nothing waits for the hour to have passed again.
func TestTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	const back = time.Hour
	for _, restarted := range []bool{false, true} {
		set := func(r *carerig) {
			r.now = r.now.Add(-back)
			r.users.from = r.now
			if restarted {
				r.restart()
			}
		}
		t.Run("more is added", func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 2, func(w *workload.Workload) {
				w.Guardrails.CooldownUp, w.Guardrails.MaxRateUp = 30*time.Second, 2
			})
			r.offer(1, 4)
			r.steps(2)
			set(r)
			r.steps(1)
			r.now = r.now.Add(time.Minute)
			r.offer(2, 6)
			r.steps(2)
			if r.cluster.state.Desired != 6 {
				t.Errorf("%d instances: %s", r.cluster.state.Desired, r.last().GetReason())
			}
		})
		t.Run("a change is checked", func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 2, nil)
			r.cluster.slow = true
			r.offer(1, 4)
			r.steps(2)
			set(r)
			r.steps(1)
			r.now = r.now.Add(time.Minute)
			r.steps(1)
			if len(r.lane.state.Flights) > 0 {
				t.Fatalf("under way still: %v", r.lane.state.Flights)
			}
			if a := r.last(); a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_FAILED || a.GetCompleteTime().AsTime().Before(a.GetCreateTime().AsTime()) {
				t.Errorf("recorded %v", a)
			}
		})
		t.Run("users feel it", func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 4, nil)
			r.offer(1, 2)
			r.steps(3)
			set(r)
			r.users.since = 0.5
			r.steps(20)
			if r.cluster.state.Desired != 4 {
				t.Errorf("%d instances, not rolled back: %v", r.cluster.state.Desired, r.last())
			}
		})
		t.Run("what was rolled back is tried again", func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 4, nil)
			r.offer(1, 2)
			r.steps(1)
			r.users.since = 0.5
			r.steps(3)
			set(r)
			r.users.since = 0
			r.steps(1)
			r.now = r.now.Add(10 * time.Minute)
			r.offer(10, 2)
			r.steps(2)
			if r.cluster.state.Desired != 2 {
				t.Errorf("%d instances: %s", r.cluster.state.Desired, r.last().GetReason())
			}
		})
		t.Run("a person's change is left alone for a while", func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 4, nil)
			r.cluster.state.Foreign = true
			r.cluster.resize(5)
			r.steps(2)
			set(r)
			r.steps(1)
			r.now = r.now.Add(5 * time.Minute)
			r.offer(2, 6)
			r.steps(2)
			if r.cluster.state.Desired != 6 {
				t.Errorf("%d instances: %s", r.cluster.state.Desired, r.last().GetReason())
			}
		})
	}
}
