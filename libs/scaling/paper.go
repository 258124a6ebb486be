package scaling

import (
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
)

// cohort are instances of the HPA's fleet on paper that were ordered together; a zero time is before anything known.
type cohort struct {
	count   int
	ordered time.Time
}

// resize orders or releases instances, the newest first, and leaves the given fleet as it was.
func resize(fleet []cohort, by int, now time.Time) []cohort {
	switch {
	case by == 0:
		return fleet
	case by > 0:
		return append(slices.Clone(fleet), cohort{by, now})
	}
	out := slices.Clone(fleet)
	for by < 0 && len(out) > 0 {
		last := &out[len(out)-1]
		n := min(-by, last.count)
		last.count -= n
		by += n
		if last.count == 0 {
			out = out[:len(out)-1]
		}
	}
	return out
}

// loaded is how much work was measured: in instances fully used, at a time.
type loaded struct {
	at, now time.Time
	load    float64
}

const (
	// podRequest is the CPU request of a pod on paper in milli-cores; only ratios to it matter.
	podRequest = 100_000
	// mostPods bounds what is told apart pod by pod; a larger fleet is taken as uniform.
	mostPods = 2000
)

// hpaWish is what the HPA would want, with instances still starting, or not yet measured, treated as it treats them: without
// that it would react faster on paper than it does.
func (s *State) hpaWish(c Config, startup time.Duration, l loaded) int {
	calculator := hpa.Calculator{
		ToleranceUp: c.HPA.Tolerance, ToleranceDown: c.HPA.Tolerance,
		CPUInitialization: c.HPA.CPUInitialization, ReadinessDelay: c.HPA.ReadinessDelay,
	}
	s.settleFleet(startup+c.HPA.CPUInitialization+c.HPA.MetricWindow, l.now)
	ready := 0
	for _, g := range s.hpaFleet {
		if l.now.Sub(g.ordered) >= startup {
			ready += g.count
		}
	}
	target := int64(c.HPA.TargetPercent)
	if s.hpaHolds > mostPods || ready == 0 {
		return calculator.Uniform(s.hpaHolds, int64(math.Min(100*l.load/float64(s.hpaHolds), 1e6)), target)
	}
	share := math.Min(l.load/float64(ready), 1000)
	pods := make([]hpa.Pod, 0, s.hpaHolds)
	for _, g := range s.hpaFleet {
		age := l.now.Sub(g.ordered)
		pod := hpa.Pod{
			Ready: hpa.ConditionFalse, Started: true, StartAge: age, TransitionAge: age,
			MetricAge: l.now.Sub(l.at), MetricWindow: c.HPA.MetricWindow, Value: int64(share * podRequest), Request: podRequest,
		}
		if age >= startup {
			pod.Ready, pod.TransitionAge = hpa.ConditionTrue, age-startup
			pod.HasMetric = l.at.Sub(g.ordered) > startup
		}
		for range g.count {
			pods = append(pods, pod)
		}
	}
	wish, _, err := calculator.Replicas(s.hpaHolds, hpa.Metric{Kind: hpa.CPUUtilization, Target: target, Pods: pods})
	if err != nil {
		return s.hpaHolds // the controller holds on any error
	}
	return wish
}

// settleFleet merges what is old enough to be like any other, so that the fleet stays a few cohorts.
func (s *State) settleFleet(old time.Duration, now time.Time) {
	n := 0
	for n < len(s.hpaFleet) && now.Sub(s.hpaFleet[n].ordered) > old {
		n++
	}
	if n < 2 {
		return
	}
	merged := cohort{}
	for _, g := range s.hpaFleet[:n] {
		merged.count += g.count
	}
	s.hpaFleet = append([]cohort{merged}, s.hpaFleet[n:]...)
}
