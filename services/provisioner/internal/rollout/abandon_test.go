package rollout

import (
	"strings"
	"testing"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// A workload is taken out of the configuration in the middle of a change: that is recorded all the same, once.
func TestAChangeOfAWorkloadThatIsGoneIsRecorded(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"accepted": true, "not known whether": false} {
		r := newCareRig(t, 2, nil)
		r.cluster.slow = true
		r.offer(1, 4)
		r.steps(1)
		if len(r.lane.state.Flights) != 1 {
			t.Fatalf("under way: %v", r.lane.state.Flights)
		}
		before := r.journal.Lane("shop/production")
		before.Flights[0].Accepted = accepted
		if err := r.journal.SetLane("shop/production", before, nil); err != nil {
			t.Fatal(err)
		}
		for _, declared := range []bool{true, false, false} {
			if err := Abandon(r.journal, func(workload string) bool { return declared && workload == "shop" }, r.now); err != nil {
				t.Fatal(err)
			}
			if left := len(r.journal.Lane("shop/production").Flights); declared != (left == 1) {
				t.Errorf("%s, declared %v: %d under way", name, declared, left)
			}
		}
		got := r.journal.Unrecorded()
		if len(got) != 1 || got[0].GetOutcome() != foreshadowv1.Outcome_OUTCOME_FAILED || !got[0].GetCompleteTime().IsValid() ||
			!strings.Contains(got[0].GetReason(), "not declared any more") || strings.Contains(got[0].GetReason(), "nor whether") == accepted {
			t.Errorf("%s: recorded %v", name, got)
		}
		if after := r.journal.Lane("shop/production"); after.Generation != before.Generation || len(after.Changes) != len(before.Changes) {
			t.Errorf("%s: was %+v, is %+v", name, before, after)
		}
		// It may come back.
		r.restart()
		r.cluster.state.Instances = r.cluster.state.Instances[:2]
		r.cluster.slow = false
		r.cluster.resize(4)
		r.offer(2, 5)
		r.steps(2)
		if r.cluster.state.Desired != 5 {
			t.Errorf("%s: %d instances when it came back", name, r.cluster.state.Desired)
		}
	}
}

func TestNothingIsAbandonedWhereNothingIsUnderWay(t *testing.T) {
	t.Parallel()
	j, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.SetLane("old/production", journal.Lane{Generation: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if err := Abandon(j, func(string) bool { return false }, noon); err != nil || len(j.Unrecorded()) != 0 || j.Lane("old/production").Generation != 3 {
		t.Errorf("%v, %v", j.Unrecorded(), err)
	}
}
