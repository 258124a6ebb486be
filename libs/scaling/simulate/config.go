package simulate

import (
	"errors"
	"fmt"
	"time"
)

// Config is the world a policy runs in.
type Config struct {
	Tick    time.Duration
	Start   time.Time     // of the first tick
	Startup time.Duration // from order to ready; rounded up to ticks
	// Capacity is the requests/s of one instance at full utilization.
	Capacity float64
	// MaxUtilization is the share of Capacity up to which requests meet the SLO: the knee of the latency curve.
	MaxUtilization float64
	Min, Max       int
	Initial        int           // instances ready at the start; 0 takes what the first tick needs
	RateDelay      time.Duration // age of the newest request rate a policy sees; rounded to ticks
	MetricWindow   time.Duration // CPU utilization is averaged over it
	MetricEvery    time.Duration // and published this often, so it is up to this old
	Warmup         time.Duration // played but not scored: policies that learn may learn in it
	// Patience is how long a request waits for a free instance before it is given up. Zero: no queue, excess is refused.
	Patience time.Duration
}

// Default returns a service on an ordinary Kubernetes cluster: 15 s ticks, a metrics pipeline of 60 s, an SLO that holds
// up to 85 % utilization, and an instance of 100 requests/s that starts in 60 s.
func Default() Config {
	return Config{
		Tick: 15 * time.Second, Start: time.Unix(0, 0).UTC(), Startup: time.Minute, Capacity: 100, MaxUtilization: 0.85,
		Min: 1, Max: 1000, RateDelay: 2 * time.Second, MetricWindow: time.Minute, MetricEvery: time.Minute,
	}
}

// Validate joins everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Tick <= 0 {
		errs = append(errs, fmt.Errorf("tick %s: must be positive", c.Tick))
	}
	if !(c.Capacity > 0) {
		errs = append(errs, fmt.Errorf("capacity %v: must be positive", c.Capacity))
	}
	if !(c.MaxUtilization > 0 && c.MaxUtilization <= 1) {
		errs = append(errs, fmt.Errorf("max_utilization %v: must be above 0 and at most 1", c.MaxUtilization))
	}
	if c.Min < 0 || c.Max < max(1, c.Min) {
		errs = append(errs, fmt.Errorf("instances %d to %d: must ascend from 0 or more to 1 or more", c.Min, c.Max))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"startup", c.Startup}, {"rate_delay", c.RateDelay}, {"metric_window", c.MetricWindow}, {"metric_every", c.MetricEvery}, {"patience", c.Patience}, {"warmup", c.Warmup}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %s: must not be negative", d.name, d.value))
		}
	}
	return errors.Join(errs...)
}

// Need returns how many instances a rate in requests/s takes within the SLO, clamped to [Min, Max]; Min when it is NaN.
func (c Config) Need(rate float64) int {
	return min(max(c.need(rate), c.Min), c.Max)
}

// ReadyAfter is the start-up time as it is played: in whole ticks.
func (c Config) ReadyAfter() time.Duration { return time.Duration(ticks(c.Startup, c.Tick)) * c.Tick }

func ticks(d, tick time.Duration) int { return int((d + tick - 1) / tick) }
