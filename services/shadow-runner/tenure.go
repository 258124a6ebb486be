package shadowrunner

import (
	"context"
	"log/slog"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/fleet"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
)

// replaceWithin is how long a measurement or an experiment waits for the instance that takes the place of one that went away.
const replaceWithin = 2 * time.Minute

// tenure is one measurement's hold on one instance at a time: when that goes away under load, on another like it.
type tenure struct {
	fleet    *fleet.Fleet
	log      *slog.Logger
	instance platform.Instance
	release  func() // of the present instance
}

// newTenure is false when there is no instance to be had.
func (l *lane) newTenure(ctx context.Context) (*tenure, bool) {
	instance, release, ok := l.fleet.Lease(ctx)
	return &tenure{fleet: l.fleet, log: l.log, instance: instance, release: release}, ok
}

func (t *tenure) left() (time.Time, bool) { return t.fleet.Left(t.instance.ID) }

// replace waits for a ready instance of the same version and size, which may be the same one again; false when another version or
// size is what there is, or nothing in time.
func (t *tenure) replace(ctx context.Context) (platform.Instance, bool) {
	t.log.Warn("instance went away under load", "instance", t.instance.ID)
	t.release()
	t.release = func() {}
	instance, release, ok := awaitLease(ctx, t.fleet)
	if !ok {
		return platform.Instance{}, false
	}
	if instance.Version != t.instance.Version || instance.Size != t.instance.Size {
		release()
		return platform.Instance{}, false
	}
	t.instance, t.release = instance, release
	return instance, true
}

// awaitLease is Lease once there is an instance to be had; false when there is none in time.
func awaitLease(ctx context.Context, f *fleet.Fleet) (instance platform.Instance, release func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, replaceWithin)
	defer cancel()
	for {
		if instance, release, ok = f.Lease(ctx); ok {
			return instance, release, true
		}
		if pace.Timer(ctx, time.Now().Add(lookEvery)) != nil {
			return platform.Instance{}, nil, false
		}
	}
}
