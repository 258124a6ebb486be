package scaling

import "time"

// Policy says which rule made a decision.
type Policy uint8

// The policies.
const (
	Hold       Policy = iota // data was missing or impossible: what runs is kept, or grown by a forecast
	Reactive                 // the request rate of the last seconds, or the CPU utilization, decided
	Predictive               // the forecast was used
)

func (p Policy) String() string {
	switch p {
	case Predictive:
		return "predictive"
	case Reactive:
		return "reactive"
	case Hold:
	}
	return "hold"
}

// Size is the size of one environment.
type Size struct {
	Instances int
	// Per instance; zero means no recommendation.
	CPUCores              float64
	MemoryBytes           float64
	NetworkBytesPerSecond float64
}

// Decision is the recommended size, and why.
type Decision struct {
	Production Size
	Shadow     Size // zero instances: asleep
	Policy     Policy
	Reasons    []Reason // most important first; never empty
	Evidence   Evidence
	// ReactiveInstances is what scaling on the request rate alone would hold; zero when that is not known.
	ReactiveInstances int
	// HPAInstances is what the Kubernetes HPA would hold; zero when the CPU utilization is not known.
	HPAInstances int
	// Cheaper is a size of instance that would do the same for less, among those the shadow tried; nil when there is none.
	Cheaper *Alternative
	Made    time.Time
	Expires time.Time // it must not be applied after
}

// Evidence is the numbers a decision rests on. Rates are requests per second; zero means not known.
type Evidence struct {
	Demand          float64 // now, of the whole workload
	DemandAge       time.Duration
	Quantile        float64 // of the highest demand within the lead time
	Forecast        float64 // the demand at that quantile
	ForecastArrival float64 // the same from when an instance ordered now is ready to the end of the lead time
	ForecastHold    float64 // the same within the hold time
	ForecastMean    float64
	Surprise        float64 // what the demand is above the expected, where most of that is not counted on
	Ebb             float64 // the least demand of the past, where today's is taken for an outage
	ForecastTrusted bool
	Capacity        float64 // of one instance within the SLO, as measured
	CapacityUsed    float64 // what of it is counted on, after uncertainty and imbalance
	CapacityLower   float64
	Utilization     float64 // share of the CPU request
	Startup         time.Duration
	LeadTime        time.Duration
	Ready, Desired  int
	Needed          int // instances needed until a new one could be ready, before limits
	NeededLater     int // instances needed within the hold time, before limits
	HPATarget       int // percent
	Bottleneck      Bottleneck
	Minimum         int
	Maximum         int
}
