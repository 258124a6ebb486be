package scaling

import (
	"math"
	"time"
)

// Input is everything one decision rests on. All rates are requests per second of the whole workload unless said
// otherwise. NaN, infinities and negative numbers are treated as missing.
type Input struct {
	Config    Config
	Instances Instances
	// Startup is how long an instance takes from start to ready, the measured 90th percentile. Zero or negative means
	// not measured: Config.StartupGuess is used.
	Startup     time.Duration
	Demand      []Point // oldest first; the last few seconds suffice
	Forecast    Forecast
	Capacity    Capacity
	Utilization Utilization
	Resources   Resources
	Limits      Limits
	// Size of production's instances; zero when it is not known, and while they differ.
	Size InstanceSize
	// Price of an instance of production's size for an hour; 0 when not known. Tried are other sizes, which may cost less.
	Price float64
	Tried []Tried
}

// InstanceSize is what one instance is given; 0 where it is not known.
type InstanceSize struct {
	CPUCores    float64
	MemoryBytes float64
}

func (s InstanceSize) known() bool { return known(s.CPUCores) && known(s.MemoryBytes) }

// Near says whether an instance has a size, as far as it is asked for, but for a tenth: so small a change is not made.
func (s InstanceSize) Near(asked InstanceSize) bool {
	const tenth = 0.1
	near := func(have, want float64) bool { return want <= 0 || math.Abs(have-want) <= tenth*want }
	return near(s.CPUCores, asked.CPUCores) && near(s.MemoryBytes, asked.MemoryBytes)
}

// Is says whether an instance has a size, as far as it is asked for. Platforms count CPU in thousandths.
func (s InstanceSize) Is(asked InstanceSize) bool {
	const thousandth = 0.001
	return (asked.CPUCores <= 0 || math.Abs(s.CPUCores-asked.CPUCores) < thousandth) &&
		(asked.MemoryBytes <= 0 || s.MemoryBytes == asked.MemoryBytes)
}

// Instances is the state of production.
type Instances struct {
	Desired int // what the platform was last asked for
	Ready   int // what serves now
}

// held is what is ready or starting.
func (i Instances) held() int {
	n := i.Desired
	if n <= 0 {
		n = i.Ready
	}
	return min(max(0, n), instanceLimit)
}

// Point is the demand at one moment.
type Point struct {
	At        time.Time
	PerSecond float64
}

// Quantile is a demand that is exceeded with probability 1-Level.
type Quantile struct {
	Level     float64 // within (0, 1)
	PerSecond float64
}

// Forecast is what is expected of the demand. The zero value is no forecast.
type Forecast struct {
	Issued time.Time  // the moment it was made for; older than Config.ForecastMaxAge it is not used
	Lead   []Quantile // of the highest demand within [now, now+Input.LeadTime()], ascending levels
	// Arrival is the same from the moment an instance ordered now is ready to the end of the lead time; empty means Lead.
	Arrival []Quantile
	Hold    []Quantile // the same within [now, now+Input.HoldTime()]; empty means Lead
	// Surprise is what the demand now differs from the median expected of the running step, where a rise that is foreseen and has
	// not come yet is none; 0 when there is no such step. Lead, Arrival and Hold do not know of it yet.
	Surprise float64
	// Away is the share of the usual demand that known events keep away now, from 0 to 1.
	Away   float64
	Mean   float64 // expected demand at the end of the lead time; for the explanation only
	Earned bool    // whether past forecasts were good enough to act on
	Reason string  // why it has earned trust or not, as a sentence
}

// Source says where a capacity comes from.
type Source uint8

// The sources of a capacity.
const (
	CapacityUnknown  Source = iota
	CapacityHint            // configured by a person
	CapacityMeasured        // the highest rate the shadow carried within the SLO
)

// Capacity is the request rate one instance carries within its SLO.
type Capacity struct {
	Source     Source
	PerSecond  float64 // of one instance
	Lower      float64 // 95 % interval; zero means not known
	Upper      float64
	Measured   time.Time
	Expires    time.Time // after it the value is still used, and measured anew; zero means never
	MixDrift   float64   // share of today's requests that the measured mix did not have, 0 to 1
	Rough      bool      // the interval is wider than was asked for; the shadow goes on measuring
	OtherSize  bool      // it was measured on instances of another size than production's
	Bottleneck string    // what ran out first when it was measured; empty when that is not known
}

// Utilization is the mean CPU use of the ready production instances, as a share of their CPU request.
type Utilization struct {
	Share float64
	At    time.Time
	// Instances is how many it was measured over, on average. An old mean times today's instances would invent load that
	// was never there. Zero means those ready now.
	Instances float64
}

// Resources is what an instance uses, at today's mix of requests; see package correlate. The zero value is not known.
type Resources struct {
	CPU     Line // cores
	Memory  Line // bytes
	Network Line // bytes per second
}

// Limits are what one instance may use; 0 where it is not known.
type Limits struct {
	CPUCores              float64
	MemoryBytes           float64
	NetworkBytesPerSecond float64 // in and out together
}

// Line is the use of one resource by one instance: Base + PerRequest x requests per second.
type Line struct {
	Base       float64
	PerRequest float64
}

// LeadTime is how far ahead a decision to grow must look: an instance asked for at the next decision is not ready sooner.
func (in Input) LeadTime() time.Duration {
	c := in.Config.usable()
	return in.startup(c) + c.Interval
}

// HoldTime is how far ahead a decision to shrink must look: what is released now must not be wanted back within it.
func (in Input) HoldTime() time.Duration {
	return in.LeadTime() + in.Config.usable().DownAhead
}

// maxStartup bounds the lead time; no forecast reaches further.
const maxStartup = 24 * time.Hour

func (in Input) startup(c Config) time.Duration {
	if in.Startup <= 0 {
		return c.StartupGuess
	}
	return min(in.Startup, maxStartup)
}
