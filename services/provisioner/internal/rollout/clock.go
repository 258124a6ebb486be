package rollout

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// present brings what a lane remembers into the present. After the clock was set back, or on a machine whose clock is behind, it
// would lie in the future: cooldowns, rates, holds and checks would last until that time had come again, and nobody would see how
// users fare meanwhile. What is dated later than now counts as of now. It is pure; changed says whether the result differs.
func present(lane journal.Lane, now time.Time) (next journal.Lane, changed bool) {
	now = now.Round(0) // what counts is the time of day: other processes read and write these times
	atMost := func(t *time.Time, limit time.Time) {
		if t.Round(0).After(limit) {
			*t, changed = limit, true
		}
	}
	dated := func(a journal.Action) journal.Action {
		if at := a.GetCreateTime().AsTime(); at.After(now) {
			changed = true
			a.ScalingApplied = proto.CloneOf(a.ScalingApplied)
			a.CreateTime = timestamppb.New(now)
		}
		return a
	}
	next = lane
	next.Changes, next.Flights = slices.Clone(lane.Changes), slices.Clone(lane.Flights)
	for i := range next.Changes {
		atMost(&next.Changes[i].Time, now)
	}
	for i := range next.Flights {
		next.Flights[i].Action = dated(next.Flights[i].Action)
	}
	if lane.Watch != nil {
		w := journal.Watch{Action: dated(lane.Watch.Action), Since: lane.Watch.Since}
		atMost(&w.Since, now)
		next.Watch = &w
	}
	if lane.Manual != nil {
		m := *lane.Manual
		atMost(&m.Time, now)
		next.Manual = &m
	}
	if f := &next.RolledBack; f.Since.After(now) {
		f.Until = now.Add(f.Until.Sub(f.Since)) // it holds as long as it was to
		atMost(&f.Since, now)
	}
	return next, changed
}

// followClock does so with what the lane remembers.
func (l *Lane) followClock(ctx context.Context) error {
	now := l.deps.Now()
	for i := range l.wanted {
		if l.wanted[i].Time.After(now) {
			l.wanted[i].Time = now
		}
	}
	next, changed := present(l.state, now)
	if !changed {
		return nil
	}
	l.log.Warn("the clock was set back: what was done later than now counts as done now")
	return l.commit(ctx, next, nil)
}
