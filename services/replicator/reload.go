package replicator

import (
	"fmt"
	"reflect"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

func (s *Service) tapConfig(cfg Config, w workload.Workload) tap.Config {
	return tap.Config{
		Workload: w, KeepBodies: cfg.KeepBodies, TrustForwarded: cfg.TrustForwarded, Share: s.budget.Share,
		Publisher: s.captured, Accumulator: s.accumulator, Log: s.deps.Log,
	}
}

// Reload takes over what a changed configuration says of sampling, strata and redaction, for requests that begin from now
// on. No connection is touched. A configuration that is not valid changes nothing. What else has changed takes a restart,
// and is said in the log.
func (s *Service) Reload(cfg Config, workloads []workload.Workload) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	w, err := cfg.pick(workloads)
	if err != nil {
		return err
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if err := s.tap.Reload(s.tapConfig(cfg, w)); err != nil {
		return fmt.Errorf("workload %s: %w", w.Name, err)
	}
	// Beyond what was taken over, is anything different from what runs?
	same := cfg
	same.KeepBodies, same.TrustForwarded = s.cfg.KeepBodies, s.cfg.TrustForwarded
	if !reflect.DeepEqual(same, s.cfg) || w.Name != s.workload.Name || !reflect.DeepEqual(w.Production, s.workload.Production) {
		s.deps.Log.Warn("some of what has changed in the configuration takes a restart", "workload", s.workload.Name)
	}
	return nil
}
