package command

import (
	"context"
	"fmt"

	"github.com/foreshadow/foreshadow/libs/platform"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
)

// trialsOf finds where the trials of a group run.
func (p *places) trialsOf(group string) (shadowrunner.Trials, error) {
	at, known := p.groups[group]
	if !known {
		return nil, platform.NotFound(group)
	}
	if at == place(p.kubernetes) {
		return p.trials, nil
	}
	if t, can := at.(shadowrunner.Trials); can {
		return t, nil
	}
	return nil, fmt.Errorf("group %q: its platform runs no trials: %w", group, platform.ErrUnsupported)
}

// Try runs a trial of a group, or renews its lease, where its platform can.
func (p *places) Try(ctx context.Context, group string, t platform.Trial) (platform.State, error) {
	at, err := p.trialsOf(group)
	if err != nil {
		return platform.State{}, err
	}
	return at.Try(ctx, group, t)
}

// EndTrial ends a trial.
func (p *places) EndTrial(ctx context.Context, group, trial string) error {
	at, err := p.trialsOf(group)
	if err != nil {
		return err
	}
	return at.EndTrial(ctx, group, trial)
}

// KeepTrials ends trials that nobody asks for any more, until ctx ends. Agents do so by themselves.
func (p *places) KeepTrials(ctx context.Context) error {
	if p.trials == nil {
		return nil
	}
	return p.trials.Keep(ctx)
}
