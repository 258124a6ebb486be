package policy

import (
	"fmt"
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// HPAConfig is a HorizontalPodAutoscaler on CPU utilization, and the controller's settings.
type HPAConfig struct {
	TargetPercent int
	Sync          time.Duration
	Calculator    hpa.Calculator
	Behavior      hpa.Behavior
}

// DefaultHPA returns the HPA at 70 % with everything else as Kubernetes sets it.
func DefaultHPA() HPAConfig {
	return HPAConfig{TargetPercent: 70, Sync: 15 * time.Second, Calculator: hpa.DefaultCalculator(), Behavior: hpa.DefaultBehavior()}
}

// Faster returns the configuration for a world whose time is compressed by a factor.
func (c HPAConfig) Faster(factor float64) HPAConfig {
	shorter := func(t time.Duration) time.Duration { return time.Duration(float64(t) / factor) }
	c.Sync = shorter(c.Sync)
	c.Calculator.CPUInitialization = shorter(c.Calculator.CPUInitialization)
	c.Calculator.ReadinessDelay = shorter(c.Calculator.ReadinessDelay)
	c.Behavior = c.Behavior.Faster(factor)
	return c
}

// HPA is the Kubernetes HorizontalPodAutoscaler.
type HPA struct {
	config  HPAConfig
	history hpa.History
	synced  time.Time
	pods    []hpa.Pod
}

// NewHPA returns an HPA without memory.
func NewHPA(c HPAConfig) *HPA { return &HPA{config: c} }

// Name implements simulate.Policy.
func (h *HPA) Name() string { return fmt.Sprintf("HPA %d %%", h.config.TargetPercent) }

// Decide implements simulate.Policy.
func (h *HPA) Decide(o *simulate.Observation) int {
	if !h.synced.IsZero() && o.Now.Sub(h.synced) < h.config.Sync {
		return o.Desired
	}
	h.synced = o.Now
	wish, _, err := h.config.Calculator.Replicas(o.Desired, h.metric(o))
	if err != nil {
		// The controller acts on no error: it holds until the metric is back.
		return o.Desired
	}
	rules := hpa.Rules{Min: o.Config.Min, Max: o.Config.Max, Behavior: &h.config.Behavior}
	next, history := rules.Normalize(h.history, o.Desired, wish, o.Now)
	h.history = history
	return next
}

// request is the CPU request of a simulated instance in milli-cores; only ratios to it matter.
const request = 100_000

func (h *HPA) metric(o *simulate.Observation) hpa.Metric {
	h.pods = h.pods[:0]
	for _, g := range o.Fleet {
		pod := hpa.Pod{
			Ready: hpa.ConditionFalse, Started: true, StartAge: g.Age, TransitionAge: g.Age,
			HasMetric: g.Measured, MetricAge: o.Now.Sub(o.Measured), MetricWindow: o.Config.MetricWindow,
			Value: int64(math.Min(g.Utilization, 1000) * request), Request: request,
		}
		if g.Ready {
			pod.Ready, pod.TransitionAge = hpa.ConditionTrue, g.ReadyAge
		}
		for range g.Count {
			h.pods = append(h.pods, pod)
		}
	}
	return hpa.Metric{Kind: hpa.CPUUtilization, Target: int64(h.config.TargetPercent), Pods: h.pods}
}
