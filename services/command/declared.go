package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/shadowscaler"
)

// declaration is what ShadowScalers declare besides the file; nil when they are not looked at.
type declaration struct {
	objects     *shadowscaler.Objects
	fingerprint string
	// stay keeps the process running when something else is declared: the replicator is in the path of users, and is rolled
	// over when its operator says so.
	stay bool
}

// declareEvery is the time between two looks while nothing is declared yet.
const declareEvery = 2 * time.Second

// declare adds what ShadowScalers declare to the workloads of the file. It waits until there is anything to work with.
func (p *process) declare(ctx context.Context, service string) (*declaration, error) {
	namespace := p.file.Kubernetes.ShadowScalers
	if namespace == "" {
		return nil, nil
	}
	client, err := kubernetes.New(p.file.Kubernetes, nil)
	if err != nil {
		return nil, usageError{err}
	}
	d := &declaration{objects: shadowscaler.New(client.Dynamic(), namespace), stay: service == "replicator"}
	waiting := false
	for {
		workloads, fingerprint, err := d.objects.Load(ctx)
		if err == nil && len(workloads)+len(p.file.Workloads) > 0 {
			for _, w := range workloads {
				for _, other := range p.file.Workloads {
					if other.Name == w.Name {
						return nil, usageError{fmt.Errorf("workload %q: stands in the file, and is a ShadowScaler too", w.Name)}
					}
				}
			}
			p.file.Workloads = append(p.file.Workloads, workloads...)
			d.fingerprint = fingerprint
			return d, nil
		}
		if !waiting {
			p.log.Info("waiting for a valid ShadowScaler", "namespace", namespace, "err", err)
			waiting = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(declareEvery):
		}
	}
}

// scalers are the objects, nil when they are not looked at.
func (d *declaration) scalers() *shadowscaler.Objects {
	if d == nil {
		return nil
	}
	return d.objects
}

// follow ends the process when something else is declared, so that it is started with that. It survives kill -9 at any
// moment, and does so here.
func (d *declaration) follow(ctx context.Context) error {
	if d == nil || d.stay {
		return nil
	}
	return d.objects.Changed(ctx, d.fingerprint)
}

// stopped is the clean end of a process; that something else is declared is one.
func stopped(err error) error {
	if errors.Is(err, shadowscaler.ErrChanged) {
		return nil
	}
	return err
}
