package rollout

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// flight is a change begun ten seconds before noon, when instances a and b were there.
func flight(generation uint64, from, to int32, accepted bool) journal.Flight {
	return journal.Flight{
		Action: journal.Action{ScalingApplied: &foreshadowv1.ScalingApplied{
			ActionId: "shop/production/1", Generation: generation, From: &foreshadowv1.Sizing{Instances: from},
			To: &foreshadowv1.Sizing{Instances: to}, CreateTime: timestamppb.New(noon.Add(-10 * time.Second)), Reason: "demand rises",
		}},
		Before: []string{"a", "b"}, Accepted: accepted,
	}
}

// running is a platform's state; the letters are its instances: lower case ready, upper case starting, after a dash draining.
func running(generation uint64, desired int, letters string) platform.State {
	s := platform.State{Generation: generation, Desired: desired}
	ending := false
	for n, c := range letters {
		if c == '-' {
			ending = true
			continue
		}
		i := platform.Instance{ID: strings.ToLower(string(c)), StartTime: noon.Add(-9 * time.Second), Phase: platform.Starting}
		if c >= 'a' {
			i.Phase, i.ReadyTime = platform.Ready, i.StartTime.Add(time.Duration(n)*time.Second)
		}
		if ending {
			i.Phase = platform.Draining
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

func TestSettle(t *testing.T) {
	t.Parallel()
	const none = foreshadowv1.Outcome_OUTCOME_UNSPECIFIED
	old := flight(6, 2, 3, true)
	for name, test := range map[string]struct {
		flights  []journal.Flight
		state    platform.State
		timeout  time.Duration
		outcomes []foreshadowv1.Outcome // of what became complete
		left     int
		startup  float64
		reason   string
	}{
		"up, not all are ready":         {[]journal.Flight{flight(7, 2, 4, true)}, running(7, 4, "abcD"), time.Minute, nil, 1, 0, ""},
		"up, all are ready":             {[]journal.Flight{flight(7, 2, 4, true)}, running(7, 4, "abcd"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 3, "demand rises"},
		"up, a release adds a spare":    {[]journal.Flight{flight(7, 2, 4, true)}, running(7, 4, "abcde"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 4, ""},
		"down, a release adds a spare":  {[]journal.Flight{flight(7, 4, 2, true)}, running(7, 2, "abc"), time.Minute, nil, 1, 0, ""},
		"up, too late":                  {[]journal.Flight{flight(7, 2, 4, true)}, running(7, 4, "abcD"), 10 * time.Second, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_FAILED}, 0, 2, "3 of 4 instances are ready after 10s"},
		"up, an old one still drains":   {[]journal.Flight{flight(7, 1, 2, true)}, running(7, 2, "bc-a"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 1, ""},
		"down, one still drains":        {[]journal.Flight{flight(7, 2, 1, true)}, running(7, 1, "a-b"), time.Minute, nil, 1, 0, ""},
		"down, all are gone":            {[]journal.Flight{flight(7, 2, 1, true)}, running(7, 1, "a"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 0, ""},
		"down, too late":                {[]journal.Flight{flight(7, 2, 1, true)}, running(7, 1, "a-b"), time.Second, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_FAILED}, 0, 0, "2 instances are left"},
		"to sleep":                      {[]journal.Flight{flight(7, 2, 0, true)}, running(7, 0, ""), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 0, ""},
		"somebody else came":            {[]journal.Flight{flight(7, 2, 4, true)}, running(8, 3, "abc"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_SUPERSEDED}, 0, 2, "someone else asked for 3"},
		"the platform forgot":           {[]journal.Flight{flight(7, 2, 4, true)}, running(0, 2, "xy"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_FAILED}, 0, 1, "forgotten"},
		"killed before the call":        {[]journal.Flight{flight(7, 2, 4, false)}, running(6, 2, "ab"), time.Minute, nil, 0, 0, ""},
		"killed after the call":         {[]journal.Flight{flight(7, 2, 4, false)}, running(7, 4, "abCD"), time.Minute, nil, 1, 0, ""},
		"the next one took over":        {[]journal.Flight{old, flight(7, 3, 4, false)}, running(7, 4, "abCD"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_SUPERSEDED}, 1, 0, "a newer change took over"},
		"the next one never reached":    {[]journal.Flight{old, flight(7, 3, 4, false)}, running(6, 3, "abC"), time.Minute, nil, 1, 0, ""},
		"the next one reached, is done": {[]journal.Flight{old, flight(7, 3, 4, false)}, running(7, 4, "abcd"), time.Minute, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_SUPERSEDED, foreshadowv1.Outcome_OUTCOME_APPLIED}, 0, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lane := journal.Lane{Generation: 6, Flights: test.flights}
			next, complete, changed := settle(lane, test.state, workload.Guardrails{VerifyTimeout: test.timeout, RatePeriod: time.Minute}, noon)
			if len(next.Flights) != test.left || len(complete) != len(test.outcomes) {
				t.Fatalf("%d flights left and %v complete, want %d and %v", len(next.Flights), complete, test.left, test.outcomes)
			}
			differs := test.left != len(test.flights) || len(complete) > 0 || test.left > 0 && !test.flights[0].Accepted
			if changed != differs {
				t.Errorf("changed = %v, want %v", changed, differs)
			}
			for n, a := range complete {
				if a.GetOutcome() != test.outcomes[n] || a.GetOutcome() == none || !a.GetCompleteTime().AsTime().Equal(noon) {
					t.Errorf("complete %v, want %v", a, test.outcomes[n])
				}
			}
			if n := len(complete); n > 0 {
				if last := complete[n-1]; last.GetStartupSeconds() != test.startup || !strings.Contains(last.GetReason(), test.reason) {
					t.Errorf("complete %v, want a start-up of %v s and %q", last, test.startup, test.reason)
				}
			}
		})
	}
}

func TestAcceptedChangesCountForTheRate(t *testing.T) {
	t.Parallel()
	lane := journal.Lane{
		Changes: []guardrail.Change{{Time: noon.Add(-2 * time.Minute), Delta: 5}, {Time: noon.Add(-30 * time.Second), Delta: 1}},
		Flights: []journal.Flight{flight(7, 4, 2, false)},
	}
	next, _, _ := settle(lane, running(7, 2, "ab-cd"), workload.Guardrails{VerifyTimeout: time.Minute, RatePeriod: time.Minute}, noon)
	if len(next.Changes) != 2 || next.Changes[0].Delta != -2 || next.Changes[1].Delta != 1 || next.Generation != 7 {
		t.Errorf("lane %+v, want the change of the last minute and the one just accepted", next)
	}
}
