package provisioner

import "context"

// TrialKeeper is a Platform on which trials of experiments outlive whoever asked for them.
type TrialKeeper interface {
	// KeepTrials ends those that nobody asks for any more, until ctx ends.
	KeepTrials(ctx context.Context) error
}

// keepTrials does so while this process leads: a runner that was killed and does not come back does it no more.
func (s *Service) keepTrials(ctx context.Context) error {
	if k, can := s.deps.Platform.(TrialKeeper); can {
		return k.KeepTrials(ctx)
	}
	return nil
}
