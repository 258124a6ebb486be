package backtest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Options are the world a backtest plays in. Use Default.
type Options struct {
	Startup time.Duration // of an instance
	Tick    time.Duration
	// Capacity is the rate one instance carries within the SLO, in the unit of the series. Zero scales it so that the
	// 99th percentile of the demand needs Instances.
	Capacity  float64
	Instances int
	// MaxUtilization is the utilization an instance has at Capacity.
	MaxUtilization float64
	MaxInstances   int
	// Warmup is played and learnt from, but not scored. Zero takes a third of the series, at most two weeks.
	Warmup   time.Duration
	HPA      int // target of the HPA that all are compared with, percent
	Decision scaling.Config
	// Calendar is what was known of the demand beforehand; the zero value knows nothing.
	Calendar calendar.Calendar
	// Policies restricts the run to the named curves, beside Foreshadow and the HPA. Empty runs all.
	Policies []string
	// Forecasts is a folder in which forecasts are kept, and taken from where nothing that they depend on has changed: other
	// policies, fleets and start-up times then play at once. Empty keeps nothing.
	Forecasts string
	// Progress, if set, is told after every finished run; it is called from one goroutine at a time.
	Progress func(done, all int)
}

// Default returns a service of up to 40 instances that start in a minute, against the HPA at 70 %.
func Default() Options {
	d := scaling.DefaultConfig()
	// Simulated load is spread evenly, and a rate is exact: neither margin would have anything to cover.
	d.Imbalance, d.Smoothing = 0, 0
	d.Budget = 1
	return Options{
		Startup: time.Minute, Tick: 15 * time.Second, Instances: 40, MaxUtilization: 0.85, MaxInstances: 100_000,
		HPA: 70, Decision: d,
	}
}

// Policies are the names that Options.Policies may hold, as they stand in the reports.
func Policies() []string {
	var out []string
	for _, c := range Default().contenders(world{config: simulate.Config{Tick: time.Second}}, nil) {
		if !slices.Contains(out, c.curve) {
			out = append(out, c.curve)
		}
	}
	return out
}

// InputError is a fault of the options or of the series, found before anything was played.
type InputError struct{ err error }

func (e *InputError) Error() string { return e.err.Error() }
func (e *InputError) Unwrap() error { return e.err }

// Validate returns all faults of the options.
func (o Options) Validate() error {
	var errs []error
	if o.Tick <= 0 {
		errs = append(errs, fmt.Errorf("tick %s: must be positive", o.Tick))
	}
	if o.Startup < 0 || o.Warmup < 0 {
		errs = append(errs, fmt.Errorf("startup %s, warmup %s: must not be negative", o.Startup, o.Warmup))
	}
	if !(o.Capacity >= 0) || math.IsInf(o.Capacity, 1) {
		errs = append(errs, fmt.Errorf("capacity %v: must be a positive rate, or 0 to fit it", o.Capacity))
	}
	if o.Capacity == 0 && (o.Instances < 1 || o.Instances > o.MaxInstances) {
		errs = append(errs, fmt.Errorf("instances %d: must lie between 1 and %d when no capacity is given", o.Instances, o.MaxInstances))
	}
	if o.HPA < 1 || o.HPA > 100 {
		errs = append(errs, fmt.Errorf("hpa target %d %%: must lie between 1 and 100", o.HPA))
	}
	for _, name := range o.Policies {
		if !slices.Contains(Policies(), name) {
			errs = append(errs, fmt.Errorf("policies: %q is none, there are %s", name, strings.Join(Policies(), ", ")))
		}
	}
	if err := o.Calendar.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("calendar: %w", err))
	}
	return errors.Join(append(errs, o.Decision.Validate())...)
}

// world is the demand per tick and what it is played in.
type world struct {
	series forecast.Series // at the step forecasts are made for, never finer than a tick
	repeat int             // ticks per step
	demand []float64       // requests per tick
	config simulate.Config
	known  calendar.Calendar
}

// ErrNoDemand says that a series has nothing to scale for.
var ErrNoDemand = errors.New("the series holds no demand")

func (o Options) world(s forecast.Series) (world, error) {
	if s.Step <= 0 || len(s.Values) == 0 {
		return world{}, ErrNoDemand
	}
	if s.Step < o.Tick {
		if o.Tick%s.Step != 0 {
			return world{}, fmt.Errorf("tick %s: is no multiple of the step of %s, in which the demand is known", o.Tick, s.Step)
		}
		s = evaluation.Aggregate(s, int(o.Tick/s.Step))
	}
	if s.Step%o.Tick != 0 {
		return world{}, fmt.Errorf("tick %s: does not divide the step of %s, in which the demand is known", o.Tick, s.Step)
	}
	capacity, err := o.capacity(s)
	if err != nil {
		return world{}, err
	}
	w := world{series: s, repeat: int(s.Step / o.Tick), config: simulate.Default(), known: o.Calendar}
	for _, v := range s.Values {
		for range w.repeat {
			w.demand = append(w.demand, v*o.Tick.Seconds())
		}
	}
	c := &w.config
	c.Tick, c.Start, c.Startup, c.Warmup = o.Tick, s.Start, o.Startup, o.warmup(s)
	c.MaxUtilization, c.Capacity, c.Min, c.Max = o.MaxUtilization, capacity/o.MaxUtilization, 1, o.MaxInstances
	if c.Warmup >= time.Duration(len(w.demand))*o.Tick {
		return world{}, fmt.Errorf("warmup %s: leaves nothing of the series to score", c.Warmup)
	}
	return w, c.Validate()
}

func (o Options) warmup(s forecast.Series) time.Duration {
	if o.Warmup > 0 {
		return o.Warmup
	}
	third := time.Duration(len(s.Values)/3) * s.Step
	return min(third, 14*24*time.Hour)
}

func (o Options) capacity(s forecast.Series) (float64, error) {
	var known []float64
	for i, v := range s.Values {
		if v < 0 || v > maxDemand {
			return 0, fmt.Errorf("value %v at %s: demand must lie between 0 and %g", v, s.Time(i).Format(time.RFC3339), maxDemand)
		}
		if !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return 0, ErrNoDemand
	}
	slices.Sort(known)
	high := known[int(0.99*float64(len(known)-1))]
	if o.Capacity > 0 {
		if n := high / o.Capacity; n > float64(o.MaxInstances) {
			return 0, fmt.Errorf("capacity %v: the demand takes %.3g such instances, at most %d are simulated", o.Capacity, n, o.MaxInstances)
		}
		return o.Capacity, nil
	}
	if high <= 0 {
		return 0, ErrNoDemand
	}
	return high / float64(o.Instances), nil
}

// maxDemand is above any rate of anything; what is larger was measured wrongly, and would decide every share alone.
const maxDemand = 1e15

// minPoints is how many points of the forecast's step a backtest takes at least. A third of them is learnt from, and what
// remains must show a demand come and go.
const minPoints = 48
