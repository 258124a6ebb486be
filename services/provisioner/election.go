package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// NewElection has one of several provisioners lead by a Lease object; nil when the configuration names none.
func NewElection(cfg LeaseConfig, client *kubernetes.Client, log *slog.Logger) (Election, error) {
	if cfg.Name == "" || client == nil {
		return nil, nil
	}
	if cfg.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("find a name for this provisioner: %w", err)
		}
		cfg.Identity = host
	}
	return &leaseElection{cfg: cfg, client: client, log: log}, nil
}

type leaseElection struct {
	cfg    LeaseConfig
	client *kubernetes.Client
	log    *slog.Logger
}

// Run implements Election.
func (e *leaseElection) Run(ctx context.Context, address string, look func(kubernetes.LeaseView), lead func(context.Context, kubernetes.Leadership) error) error {
	cfg := kubernetes.LeaseConfig{
		Namespace: e.cfg.Namespace, Name: e.cfg.Name, Identity: e.cfg.Identity, Address: address, Duration: e.cfg.Duration,
	}
	return kubernetes.NewLease(e.client, cfg, e.log, look).Run(ctx, lead)
}

// Journal implements Election.
func (e *leaseElection) Journal() journal.Store {
	return document{kubernetes.NewDocument(e.client, e.cfg.Namespace, e.cfg.Name+"-journal")}
}

// document is a journal.Store.
type document struct{ *kubernetes.Document }

// Save implements journal.Store.
func (d document) Save(data []byte) error {
	err := d.Document.Save(data)
	if errors.Is(err, kubernetes.ErrOutdated) {
		return fmt.Errorf("%w: %w", journal.ErrOutdated, err)
	}
	return err
}
