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

// glance is the demand at one decision, and how many instances of the HPA's fleet on paper were there to serve it.
type glance struct {
	at    time.Time
	rate  float64
	ready int
}

// loaded is how much work was measured: in instances fully used, over a window that ended at a time.
type loaded struct {
	at, now time.Time
	window  time.Duration
	load    float64
}

// share is the mean utilization over the window of an instance on paper that was ready since a moment: while it was not, it
// used nothing. A metric is a mean of shares, each of the instances there were by then, not a share of means: who met a burst
// with a single instance saw it overloaded by far, however many there are by now. An overloaded instance shows all it was
// asked for, as in the simulator. False when nothing is known of the window.
func (l loaded) share(seen []glance, since time.Time) (float64, bool) {
	rates, shares := 0.0, 0.0
	for _, g := range seen {
		if g.at.Before(l.at.Add(-l.window)) || !g.at.Before(l.at) || g.ready <= 0 {
			continue
		}
		rates += g.rate
		if !g.at.Before(since) {
			shares += g.rate / float64(g.ready)
		}
	}
	if rates <= 0 {
		return 0, false
	}
	return math.Min(l.load*shares/rates, mostShare), true
}

// mostShare bounds a utilization on paper.
const mostShare = 1000

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
	ready := s.hpaReady(startup, l.now)
	target := int64(c.HPA.TargetPercent)
	if s.hpaHolds > mostPods || ready == 0 {
		return calculator.Uniform(s.hpaHolds, int64(math.Min(100*l.load/float64(s.hpaHolds), 1e6)), target)
	}
	pods := make([]hpa.Pod, 0, s.hpaHolds)
	for _, g := range s.hpaFleet {
		age := l.now.Sub(g.ordered)
		share, ok := l.share(s.hpaSeen, g.ordered.Add(startup))
		if !ok {
			share = math.Min(l.load/float64(ready), mostShare)
		}
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

// hpaReady is how many instances of the HPA's fleet on paper serve.
func (s *State) hpaReady(startup time.Duration, now time.Time) int {
	ready := 0
	for _, g := range s.hpaFleet {
		if now.Sub(g.ordered) >= startup {
			ready += g.count
		}
	}
	return ready
}

// glance remembers what the HPA's fleet on paper meets from now on, for as long as a metric may still tell of it.
func (s *State) glance(in Input, c Config, now time.Time) {
	rate, _, _, ok := demandNow(in.Demand, c, now)
	if !ok {
		return
	}
	keep, old := c.HPA.MetricWindow+c.DemandMaxAge, 0
	for old < len(s.hpaSeen) && now.Sub(s.hpaSeen[old].at) > keep {
		old++
	}
	seen := make([]glance, 0, len(s.hpaSeen)-old+1)
	s.hpaSeen = append(append(seen, s.hpaSeen[old:]...), glance{now, rate, s.hpaReady(in.startup(c), now)})
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
