package rollout

import (
	"errors"
	"fmt"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// Abandon completes the changes that are under way on environments whose workload is not declared any more: no lane will see what
// becomes of them, and every change is recorded. What was learnt of the environment stays, for a workload that comes back.
func Abandon(j *journal.Journal, declared func(workload string) bool, now time.Time) error {
	var errs []error
	for _, name := range j.Lanes() {
		lane := j.Lane(name)
		if len(lane.Flights) == 0 || declared(lane.Flights[0].Action.GetWorkload()) {
			continue
		}
		var complete []journal.Action
		for _, f := range lane.Flights {
			why := "the workload is not declared any more, so that nobody sees what becomes of it"
			if !f.Accepted {
				why += ", nor whether the platform has taken it"
			}
			complete = append(complete, finish(f, platform.State{}, foreshadowv1.Outcome_OUTCOME_FAILED, why, now))
		}
		lane.Flights = nil
		if err := j.SetLane(name, lane, complete); err != nil {
			errs = append(errs, fmt.Errorf("abandon changes of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
