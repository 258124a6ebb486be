package hpa

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Phase is a pod's lifecycle phase.
type Phase uint8

// The phases the HPA tells apart.
const (
	Running Phase = iota
	Pending
	Failed
)

// Condition is the state of a pod's Ready condition.
type Condition uint8

// The states of the Ready condition; ConditionAbsent is a pod that has none yet.
const (
	ConditionAbsent Condition = iota
	ConditionFalse
	ConditionTrue
)

// Pod is what the HPA knows of one pod. Ages are measured back from the moment of the calculation.
type Pod struct {
	Phase         Phase
	Deleting      bool
	Ready         Condition
	Started       bool          // the pod has a start time
	StartAge      time.Duration // since the pod started
	TransitionAge time.Duration // since the Ready condition last changed
	HasMetric     bool
	MetricAge     time.Duration // since the end of the metric's window
	MetricWindow  time.Duration // over which the metric was averaged
	Value         int64         // the metric, milli-units
	Request       int64         // the resource request, milli-units
}

// Kind is the kind of metric the HPA is driven by.
type Kind uint8

// The metric kinds. Utilization targets are a percentage of the request; all others are milli-units.
const (
	CPUUtilization Kind = iota
	MemoryUtilization
	CPUValue        // average CPU per pod
	PodsValue       // average of a custom metric per pod
	ExternalValue   // the sum of an external metric
	ExternalAverage // an external metric's sum divided by the replicas
)

// Metric is one measurement with its target.
type Metric struct {
	Kind     Kind
	Target   int64 // percent for utilization kinds, milli-units otherwise
	Pods     []Pod
	External []int64 // the external series, milli-units
}

// Errors of Calculator.Replicas; the controller holds its replicas on any of them.
var (
	ErrNoPods    = errors.New("no pods")
	ErrNoMetrics = errors.New("no metrics from any ready pod")
	ErrNoRequest = errors.New("no resource request on any measured pod")
	ErrTarget    = errors.New("target is not positive")
	ErrKind      = errors.New("unknown metric kind")
)

// Calculator turns one metric into a wish for replicas.
type Calculator struct {
	ToleranceUp       float64       // share above the target that is left alone; 0.1 by default
	ToleranceDown     float64       // share below the target that is left alone; 0.1 by default
	CPUInitialization time.Duration // after a pod's start its CPU counts only once Ready for a whole window
	ReadinessDelay    time.Duration // a Ready condition changed within it of the start was never true
}

// DefaultCalculator returns the controller manager's defaults.
func DefaultCalculator() Calculator {
	return Calculator{
		ToleranceUp: 0.1, ToleranceDown: 0.1,
		CPUInitialization: 5 * time.Minute, ReadinessDelay: 30 * time.Second,
	}
}

// Replicas returns the metric's wish, and what the controller reports as observed: the utilization in percent for
// utilization kinds, the average (or, for ExternalValue, the sum) in milli-units otherwise.
func (c Calculator) Replicas(current int, m Metric) (replicas int, observed int64, err error) {
	if m.Target <= 0 {
		return 0, 0, fmt.Errorf("calculate replicas: %w", ErrTarget)
	}
	switch m.Kind {
	case ExternalValue:
		return c.externalValue(current, m)
	case ExternalAverage:
		replicas, observed = c.externalAverage(current, m)
		return replicas, observed, nil
	case CPUUtilization, MemoryUtilization, CPUValue, PodsValue:
		return c.perPod(current, m)
	}
	return 0, 0, fmt.Errorf("calculate replicas for kind %d: %w", m.Kind, ErrKind)
}

func (c Calculator) within(ratio float64) bool {
	return 1-c.ToleranceDown <= ratio && ratio <= 1+c.ToleranceUp
}

func (c Calculator) externalValue(current int, m Metric) (int, int64, error) {
	total := sum(m.External)
	ratio := float64(total) / float64(m.Target)
	if current == 0 {
		return int(math.Ceil(ratio)), total, nil
	}
	if c.within(ratio) {
		return current, total, nil
	}
	if len(m.Pods) == 0 {
		return 0, 0, fmt.Errorf("calculate replicas: %w", ErrNoPods)
	}
	ready := 0
	for i := range m.Pods {
		if m.Pods[i].Phase == Running && m.Pods[i].Ready == ConditionTrue {
			ready++
		}
	}
	return int(math.Ceil(ratio * float64(ready))), total, nil
}

func (c Calculator) externalAverage(current int, m Metric) (int, int64) {
	total := sum(m.External)
	replicas := current
	// A fleet of zero has no average: the ratio is infinite or NaN, and neither is within the tolerance.
	if !c.within(float64(total) / (float64(m.Target) * float64(current))) {
		replicas = int(math.Ceil(float64(total) / float64(m.Target)))
	}
	if current == 0 {
		return replicas, 0
	}
	return replicas, int64(math.Ceil(float64(total) / float64(current)))
}

func sum(values []int64) int64 {
	var total int64
	for _, v := range values {
		total += v
	}
	return total
}

// Uniform is Replicas for a fleet in which every pod is ready and equally busy: the whole of it at once.
func (c Calculator) Uniform(current int, percent, target int64) int {
	if target <= 0 {
		return current
	}
	ratio := float64(percent) / float64(target)
	if c.within(ratio) {
		return current
	}
	return int(math.Ceil(ratio * float64(current)))
}
