package scaling

import (
	"errors"
	"fmt"
	"time"
)

// Config is how one workload is to be scaled. Start from DefaultConfig: a zero field means zero, not the default.
type Config struct {
	MinInstances int
	MaxInstances int
	// Risk is the accepted probability that the demand outgrows the instances before a new one could be ready.
	Risk         float64
	Interval     time.Duration // between decisions
	StartupGuess time.Duration // start-up time while none has been measured
	// Budget is what may be spent, as a share of what the HPA would have spent on the same demand: once that is known, the
	// risk is set so that it is spent, and no more. Zero: the risk is what it was configured to be, unless that would have
	// violated more requests than the HPA.
	Budget       float64
	BudgetMemory time.Duration // how much of the past the budget is about
	// Imbalance is the share by which load balancing lets the busiest instance exceed the mean.
	Imbalance      float64
	Smoothing      time.Duration // the demand now is the mean over it; zero: the newest point, taken as exact
	DemandMaxAge   time.Duration // older demand and utilization are missing
	ForecastMaxAge time.Duration // an older forecast is missing
	MaxMixDrift    float64       // above it the capacity no longer describes the traffic
	DownHold       time.Duration // the highest need of this past keeps its instances
	// DownAhead keeps what the need of this future, beyond the lead time, is at DownQuantile. Zero costs least: an instance
	// needed after the lead time can be asked for again in time.
	DownAhead    time.Duration
	DownQuantile float64 // of the demand to come that keeps instances: a middling one, as growing stays possible
	DownMargin   float64 // share of the instances that must be idle before any is released
	DownStep     float64 // share of the instances released at once, at least one
	// Outage is how long a demand below half of the least of the past (of 84 times as long) is taken for a failure on the
	// way here: nothing is released; with a budget, unless next to nothing of the demand is left, while something is left of what
	// was saved. Zero: never.
	Outage time.Duration
	// UpStep is the share by which instances grow at least when they grow: what has just outgrown its instances is likely to
	// go on, and one larger step costs less than several small ones that come late.
	UpStep float64
	// Headroom is the share by which CPU, memory and network of an instance exceed the expected use.
	Headroom float64
	// SizeMemory is the past over which sizes of instances are compared, and SizeSaving the share of the price that another
	// size must save to be worth a word.
	SizeMemory time.Duration
	SizeSaving float64
	// FollowSize has production moved to a size that costs less, among those the shadow tried. Without it that is advice, and
	// an instance is sized for what it uses.
	FollowSize      bool
	ShadowInstances int           // while the shadow is awake
	Lifetime        time.Duration // after it a decision must not be applied
	HPA             HPA
}

// HPA is the reactive alternative: the HorizontalPodAutoscaler this workload would otherwise have.
type HPA struct {
	TargetPercent int // of the CPU request
	Sync          time.Duration
	Tolerance     float64
	DownHold      time.Duration // its down-stabilisation window
	MetricWindow  time.Duration // over which the utilization it sees is averaged
	// After its start a pod's CPU counts only once it was ready for a whole window, during CPUInitialization; one whose
	// readiness changed within ReadinessDelay of the start was never ready.
	CPUInitialization, ReadinessDelay time.Duration
}

// DefaultConfig returns a configuration for an ordinary service on Kubernetes. The maximum is the caller's to set.
func DefaultConfig() Config {
	return Config{
		MinInstances: 1, MaxInstances: 10, Risk: 0.05,
		BudgetMemory: 7 * 24 * time.Hour,
		Interval:     15 * time.Second, StartupGuess: time.Minute,
		Imbalance: 0.05, Smoothing: 5 * time.Second, DemandMaxAge: 90 * time.Second, ForecastMaxAge: 10 * time.Minute,
		MaxMixDrift: 0.2,
		DownHold:    5 * time.Minute, Outage: 2 * time.Hour, DownQuantile: 0.5, DownMargin: 0.1, DownStep: 0.7, UpStep: 0.15,
		SizeMemory: 24 * time.Hour, SizeSaving: 0.1,
		Headroom: 0.2, ShadowInstances: 1, Lifetime: 2 * time.Minute,
		HPA: HPA{
			TargetPercent: 70, Sync: 15 * time.Second, Tolerance: 0.1, DownHold: 5 * time.Minute,
			MetricWindow: time.Minute, CPUInitialization: 5 * time.Minute, ReadinessDelay: 30 * time.Second,
		},
	}
}

// Faster returns the configuration for a world whose time is compressed by a factor, as in a demo day of two minutes.
// Start-up times and the demand's own windows are measured, not configured, and stay the caller's.
func (c Config) Faster(factor float64) Config {
	for _, d := range []*time.Duration{
		&c.Interval, &c.StartupGuess, &c.Smoothing, &c.DemandMaxAge, &c.ForecastMaxAge, &c.DownHold, &c.DownAhead,
		&c.Outage, &c.Lifetime, &c.BudgetMemory, &c.SizeMemory, &c.HPA.Sync, &c.HPA.DownHold, &c.HPA.MetricWindow, &c.HPA.CPUInitialization, &c.HPA.ReadinessDelay,
	} {
		*d = time.Duration(float64(*d) / factor)
	}
	return c
}

// Validate joins everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.MinInstances < 0 {
		errs = append(errs, fmt.Errorf("min_instances %d: must not be negative", c.MinInstances))
	}
	if c.MaxInstances < max(1, c.MinInstances) {
		errs = append(errs, fmt.Errorf("max_instances %d: must be at least 1 and min_instances %d", c.MaxInstances, c.MinInstances))
	}
	for _, f := range c.shares() {
		if !(f.value >= 0 && f.value <= f.limit) {
			errs = append(errs, fmt.Errorf("%s %v: must lie between 0 and %v", f.name, f.value, f.limit))
		}
	}
	for _, f := range c.durations() {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s %s: must not be negative", f.name, f.value))
		}
	}
	for _, f := range c.counts() {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s %d: must not be negative", f.name, f.value))
		}
	}
	return errors.Join(errs...)
}

type field[T any] struct {
	name  string
	value T
	limit T
}

func (c Config) shares() []field[float64] {
	return []field[float64]{
		{"risk", c.Risk, 1}, {"imbalance", c.Imbalance, 10}, {"max_mix_drift", c.MaxMixDrift, 1},
		{"down_quantile", c.DownQuantile, 1}, {"down_margin", c.DownMargin, 1}, {"down_step", c.DownStep, 1}, {"up_step", c.UpStep, 1}, {"headroom", c.Headroom, 10},
		{"budget", c.Budget, 10}, {"size_saving", c.SizeSaving, 1}, {"hpa.tolerance", c.HPA.Tolerance, 1},
	}
}

func (c Config) durations() []field[time.Duration] {
	return []field[time.Duration]{
		{name: "interval", value: c.Interval}, {name: "startup_guess", value: c.StartupGuess},
		{name: "budget_memory", value: c.BudgetMemory}, {name: "smoothing", value: c.Smoothing}, {name: "demand_max_age", value: c.DemandMaxAge},
		{name: "forecast_max_age", value: c.ForecastMaxAge}, {name: "down_hold", value: c.DownHold},
		{name: "down_ahead", value: c.DownAhead}, {name: "outage", value: c.Outage}, {name: "lifetime", value: c.Lifetime}, {name: "size_memory", value: c.SizeMemory},
		{name: "hpa.sync", value: c.HPA.Sync}, {name: "hpa.down_hold", value: c.HPA.DownHold},
		{name: "hpa.metric_window", value: c.HPA.MetricWindow}, {name: "hpa.cpu_initialization", value: c.HPA.CPUInitialization},
		{name: "hpa.readiness_delay", value: c.HPA.ReadinessDelay},
	}
}

func (c Config) counts() []field[int] {
	return []field[int]{{name: "shadow_instances", value: c.ShadowInstances}, {name: "hpa.target_percent", value: c.HPA.TargetPercent}}
}

// usable returns the configuration with every impossible value replaced by its default, so that Decide needs no error:
// whoever loads a configuration has Validate to refuse it with.
func (c Config) usable() Config {
	d := DefaultConfig()
	c.MinInstances = max(1, c.MinInstances)
	c.MaxInstances = max(c.MinInstances, c.MaxInstances)
	c.Risk = shareOr(c.Risk, d.Risk, 1)
	c.Imbalance = shareOr(c.Imbalance, d.Imbalance, 10)
	c.MaxMixDrift = shareOr(c.MaxMixDrift, d.MaxMixDrift, 1)
	c.DownQuantile = shareOr(c.DownQuantile, d.DownQuantile, 1)
	c.DownMargin = shareOr(c.DownMargin, d.DownMargin, 1)
	c.DownStep = shareOr(c.DownStep, d.DownStep, 1)
	c.UpStep = shareOr(c.UpStep, d.UpStep, 1)
	c.Headroom = shareOr(c.Headroom, d.Headroom, 10)
	c.HPA.Tolerance = shareOr(c.HPA.Tolerance, d.HPA.Tolerance, 1)
	c.Budget = shareOr(c.Budget, d.Budget, 10)
	if c.BudgetMemory < 0 {
		c.BudgetMemory = d.BudgetMemory
	}
	c.Interval = durationOr(c.Interval, d.Interval)
	c.StartupGuess = durationOr(c.StartupGuess, d.StartupGuess)
	c.Smoothing = durationOr(c.Smoothing, d.Smoothing)
	c.DemandMaxAge = durationOr(c.DemandMaxAge, d.DemandMaxAge)
	c.ForecastMaxAge = durationOr(c.ForecastMaxAge, d.ForecastMaxAge)
	c.DownHold = durationOr(c.DownHold, d.DownHold)
	c.DownAhead = durationOr(c.DownAhead, d.DownAhead)
	c.Outage = durationOr(c.Outage, d.Outage)
	c.Lifetime = durationOr(c.Lifetime, d.Lifetime)
	c.SizeMemory = durationOr(c.SizeMemory, d.SizeMemory)
	c.SizeSaving = shareOr(c.SizeSaving, d.SizeSaving, 1)
	c.HPA.Sync = durationOr(c.HPA.Sync, d.HPA.Sync)
	c.HPA.DownHold = durationOr(c.HPA.DownHold, d.HPA.DownHold)
	c.HPA.MetricWindow = durationOr(c.HPA.MetricWindow, d.HPA.MetricWindow)
	c.HPA.CPUInitialization = durationOr(c.HPA.CPUInitialization, d.HPA.CPUInitialization)
	c.HPA.ReadinessDelay = durationOr(c.HPA.ReadinessDelay, d.HPA.ReadinessDelay)
	if c.ShadowInstances < 0 {
		c.ShadowInstances = d.ShadowInstances
	}
	if c.HPA.TargetPercent <= 0 {
		c.HPA.TargetPercent = d.HPA.TargetPercent
	}
	return c
}

func shareOr(v, otherwise, limit float64) float64 {
	if v >= 0 && v <= limit {
		return v
	}
	return otherwise
}

func durationOr(v, otherwise time.Duration) time.Duration {
	if v >= 0 {
		return min(v, maxStartup)
	}
	return otherwise
}
