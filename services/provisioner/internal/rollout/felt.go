package rollout

import (
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// mostFelt bounds how far Felt goes back.
const mostFelt = time.Hour

// Felt is since when it matters how users fared, for the changes that an earlier process made and that may be undone still; now when
// there are none. within is how long users of a workload are watched; 0 = not at all.
func Felt(j *journal.Journal, within func(workload string) time.Duration, now time.Time) time.Time {
	since := now
	for _, name := range j.Lanes() {
		lane := j.Lane(name)
		var actions []journal.Action
		for _, f := range lane.Flights {
			actions = append(actions, f.Action)
		}
		if lane.Watch != nil && now.Sub(lane.Watch.Since) <= within(lane.Watch.Action.GetWorkload()) {
			actions = append(actions, lane.Watch.Action)
		}
		for _, a := range actions {
			before := a.GetCreateTime().AsTime().Add(-within(a.GetWorkload()))
			if a.GetEnvironment() == foreshadowv1.Environment_ENVIRONMENT_PRODUCTION && within(a.GetWorkload()) > 0 && before.Before(since) {
				since = before
			}
		}
	}
	if oldest := now.Add(-mostFelt); since.Before(oldest) {
		return oldest
	}
	return since
}
