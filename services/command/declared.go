package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

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

// declare adds what ShadowScalers declare to the workloads of the file. It waits until there is anything to work with, alive and
// not ready meanwhile. It returns a nil declaration when ShadowScalers are not looked at, and the error of ctx when that ends.
func (p *process) declare(ctx context.Context, service, admin string) (*declaration, error) {
	namespace := p.file.Kubernetes.ShadowScalers
	if namespace == "" {
		return nil, nil
	}
	client, err := kubernetes.New(p.file.Kubernetes, nil)
	if err != nil {
		return nil, usageError{err}
	}
	p.kubernetes = client
	d := &declaration{objects: shadowscaler.New(client, namespace), stay: service == "replicator"}
	if found, err := p.adopt(ctx, d); found || wrong(err) {
		return d, err
	}
	const part = "declaration"
	p.admin.NotReady(part, "waiting for a valid ShadowScaler in namespace "+namespace)
	p.log.Info("waiting for a valid ShadowScaler", "namespace", namespace)
	g, ctx := errgroup.WithContext(ctx)
	serving, found := context.WithCancel(ctx)
	defer found()
	g.Go(func() error { return p.admin.Serve(serving, admin) })
	g.Go(func() error {
		defer found()
		return p.await(ctx, d, service)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p.admin.Ready(part)
	return d, nil
}

// await returns when there is a valid ShadowScaler.
func (p *process) await(ctx context.Context, d *declaration, service string) error {
	tick := time.NewTicker(declareEvery)
	defer tick.Stop()
	for {
		found, err := p.adopt(ctx, d)
		if found || wrong(err) {
			return err
		}
		if err != nil {
			p.log.Debug("ShadowScalers not read", "err", err)
		}
		if service == "provisioner" {
			// Nobody else says what is wrong with them while there is nothing to do, and lets go those that are to go.
			if err := d.objects.Attend(ctx, time.Now()); err != nil {
				p.log.Debug("ShadowScalers not attended to", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// wrong says whether an error is the user's to correct, and no use to wait for.
func wrong(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}

// adopt takes over what is declared now; false when that is nothing. The error is a usageError when it cannot be worked with.
func (p *process) adopt(ctx context.Context, d *declaration) (bool, error) {
	workloads, fingerprint, err := d.objects.Load(ctx)
	if err != nil || len(workloads)+len(p.file.Workloads) == 0 {
		return false, err
	}
	for _, w := range workloads {
		for _, other := range p.file.Workloads {
			if other.Name == w.Name {
				return false, usageError{fmt.Errorf("workload %q: stands in the file, and is a ShadowScaler too", w.Name)}
			}
		}
	}
	p.file.Workloads = append(p.file.Workloads, workloads...)
	d.fingerprint = fingerprint
	return true, nil
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
