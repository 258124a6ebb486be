package provisioner

import (
	"context"
	"errors"
	"time"
)

// Copier is a Platform that makes a shadow as an isolated copy of production.
type Copier interface {
	// Copy makes the group shadow of the group production when it is missing, asleep, and keeps it like it.
	Copy(ctx context.Context, production, shadow string) error
}

// copyEvery is the time between two looks at whether the copies are like production.
const copyEvery = 30 * time.Second

// keepCopies makes the shadows that are copies and keeps them like production. One that cannot be made now is tried again; the
// lane of the shadow says meanwhile that it is missing.
func (s *Service) keepCopies(ctx context.Context) error {
	copier, can := s.deps.Platform.(Copier)
	if !can {
		return nil
	}
	tick := time.NewTicker(copyEvery)
	defer tick.Stop()
	failed := map[string]bool{}
	for {
		for _, w := range s.deps.Workloads {
			if !w.Shadow.Kubernetes.Copy.Enabled {
				continue
			}
			err := s.hold(ctx, w.Name)
			if err == nil {
				err = copier.Copy(ctx, w.Production.Group, w.Shadow.Group)
			}
			if ctx.Err() == nil && (err != nil) != failed[w.Name] {
				failed[w.Name] = err != nil
				s.deps.Log.Info("copy of production for the shadow", "workload", w.Name, "made", err == nil, "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// errGoing says that a workload is not to be copied for any more.
var errGoing = errors.New("its ShadowScaler was deleted")

// hold has the object that declares a workload stay until its copy is gone; nothing needs to for one of the file.
func (s *Service) hold(ctx context.Context, name string) error {
	if s.deps.Declared == nil {
		return nil
	}
	list, err := s.deps.Declared.List(ctx)
	if err != nil {
		return err
	}
	for _, o := range list {
		switch {
		case o.Name != name:
		case o.Going:
			return errGoing
		default:
			return s.deps.Declared.Hold(ctx, o)
		}
	}
	return nil
}
