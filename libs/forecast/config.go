package forecast

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// Config is how one Engine forecasts. The zero value of every field but Step has a working default.
type Config struct {
	// Step is the distance of the observations; required.
	Step time.Duration
	// History is how many points are kept, at most 20,000. Default 4,320.
	History int
	// Horizon is how many steps ahead the pool is weighted and calibrated for. Default 24. Forecasts beyond it work, with
	// the errors of its last step widened.
	Horizon int
	// Levels are the quantiles a Forecast carries, ascending, within (0, 1). Default 0.5, 0.8, 0.9, 0.95, 0.99.
	Levels []float64
	// RefitEvery is after how many new points NeedsRefit says so. Default: a twentieth of the history loaded, at least 30.
	RefitEvery int
	// MaxStale is how many steps may have passed without an observation before Forecast abstains. Default: Horizon.
	MaxStale int
	// Method restricts the pool to one model, for comparison. Default: the pool.
	Method string
	// Calendar is what is known beforehand: events, and by which clock users live. Default: nothing.
	Calendar calendar.Calendar
}

func (c Config) withDefaults() Config {
	if c.History == 0 {
		c.History = 4320
	}
	if c.Horizon == 0 {
		c.Horizon = 24
	}
	if len(c.Levels) == 0 {
		c.Levels = []float64{0.5, 0.8, 0.9, 0.95, 0.99}
	}
	if c.MaxStale == 0 {
		c.MaxStale = c.Horizon
	}
	return c
}

// Validate joins everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Step <= 0 {
		errs = append(errs, fmt.Errorf("step %s: must be positive", c.Step))
	}
	c = c.withDefaults()
	if c.History < minHistory || c.History > 20000 {
		errs = append(errs, fmt.Errorf("history %d: must be %d to 20000 points", c.History, minHistory))
	}
	if c.Horizon < 1 || c.Horizon > 2000 {
		errs = append(errs, fmt.Errorf("horizon %d: must be 1 to 2000 steps", c.Horizon))
	}
	if c.RefitEvery < 0 {
		errs = append(errs, fmt.Errorf("refit every %d points: must not be negative", c.RefitEvery))
	}
	if c.MaxStale < 0 {
		errs = append(errs, fmt.Errorf("max stale %d steps: must not be negative", c.MaxStale))
	}
	if !slices.IsSorted(c.Levels) {
		errs = append(errs, fmt.Errorf("levels %v: must ascend", c.Levels))
	}
	for _, l := range c.Levels {
		if !(l > 0 && l < 1) {
			errs = append(errs, fmt.Errorf("level %v: must lie between 0 and 1", l))
		}
	}
	if err := c.Calendar.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("calendar: %w", err))
	}
	return errors.Join(errs...)
}

// schedule is nil without a calendar.
func (c Config) schedule() (*calendar.Schedule, error) {
	if c.Calendar.IsZero() {
		return nil, nil
	}
	return calendar.New(c.Calendar)
}
