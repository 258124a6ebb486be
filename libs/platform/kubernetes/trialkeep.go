package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// sweepEvery is the time between two looks for trials that are over.
	sweepEvery = 10 * time.Second
	// deniedFor is how long it is not asked again for what this process has no right to see: where trials are not enabled there
	// are none.
	deniedFor = 5 * time.Minute
)

// sightings are the trials that were seen.
type sightings map[types.UID]sighting

// sighting is the renewal that a trial was last seen with, and since when, by the clock of this process: clocks of others are
// not compared.
type sighting struct {
	renewed string
	since   time.Time
}

// Keep removes the trials that nobody renews any more, until ctx ends; it returns nil then. One is removed at most its lease and
// twice 10 s after its last renewal, or after Keep began when that was later. One goroutine may run it.
func (t *Trials) Keep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failed := false
	for {
		err := t.sweep(ctx)
		if ctx.Err() == nil && (err != nil) != failed {
			failed = err != nil
			t.log.Info("look for trials that are over", "done", err == nil, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep looks once at the trials of all shadows.
func (t *Trials) sweep(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	next := sightings{}
	var errs []error
	for _, group := range t.shadows {
		if since, denied := t.denied[group]; denied && t.now().Sub(since) < deniedFor {
			continue
		}
		shadow, err := t.shadow(ctx, group)
		if err == nil {
			err = t.sweepOne(ctx, shadow, next)
		}
		if errors.Is(err, platform.ErrUnsupported) {
			t.denied[group] = t.now()
			t.log.Debug("trials not looked for", "group", group, "err", err)
			continue
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil {
		t.seen = next // those that are gone are forgotten
	}
	return err
}

func (t *Trials) sweepOne(ctx context.Context, shadow object, next sightings) error {
	all, err := t.client.trialsOf(ctx, shadow)
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		o, now := &all[i], t.now()
		asked, _, err := readAsked(o)
		if err != nil {
			asked.Lease = platform.MaxLease // somebody has spoilt it; it is not for ever all the same
		}
		seen, known := t.seen[o.GetUID()]
		if renewed := o.GetAnnotations()[renewedAnnotation]; !known || seen.renewed != renewed {
			seen = sighting{renewed: renewed, since: now}
			t.seen[o.GetUID()] = seen
		}
		next[o.GetUID()] = seen
		if o.GetDeletionTimestamp() != nil || now.Sub(seen.since) <= asked.Lease {
			continue
		}
		// When it was renewed since it was read, it is not removed, and no error.
		if err := t.client.endTrial(ctx, shadow, o, true); err != nil && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("trial %q of group %q: %w", o.GetLabels()[trialLabel], shadow.group, err))
			continue
		} else if err == nil {
			t.log.Info("trial ended", "group", platform.TrialGroup(shadow.group, o.GetLabels()[trialLabel]), "reason", "its lease was not renewed")
		}
	}
	return errors.Join(errs...)
}
