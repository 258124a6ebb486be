package hpa

import (
	"fmt"
	"math"
)

// group sums the pods of one class. Sums suffice: every step of the controller's arithmetic is a ratio of totals.
type group struct {
	count   int
	value   int64
	request int64
}

func (g *group) add(p *Pod) {
	g.count++
	g.value += p.Value
	g.request += p.Request
}

// classes are the pods that drive the ratio, those that sent nothing, and those not ready for their metric to count.
type classes struct {
	measured, missing, unready group
}

func (c Calculator) classify(m Metric) classes {
	var out classes
	cpu := m.Kind == CPUUtilization || m.Kind == CPUValue
	for i := range m.Pods {
		p := &m.Pods[i]
		switch {
		case p.Deleting || p.Phase == Failed:
		case p.Phase == Pending:
			out.unready.add(p)
		case !p.HasMetric:
			out.missing.add(p)
		case cpu && c.unready(p):
			out.unready.add(p)
		default:
			out.measured.add(p)
		}
	}
	return out
}

// unready says whether a running pod's CPU is still start-up work rather than load.
func (c Calculator) unready(p *Pod) bool {
	if p.Ready == ConditionAbsent || !p.Started {
		return true
	}
	if p.StartAge < c.CPUInitialization {
		return p.Ready == ConditionFalse || p.MetricAge+p.MetricWindow > p.TransitionAge
	}
	return p.Ready == ConditionFalse && p.StartAge-p.TransitionAge < c.ReadinessDelay
}

func (c Calculator) perPod(current int, m Metric) (int, int64, error) {
	if len(m.Pods) == 0 {
		return 0, 0, fmt.Errorf("calculate replicas: %w", ErrNoPods)
	}
	g := c.classify(m)
	if g.measured.count == 0 {
		return 0, 0, fmt.Errorf("calculate replicas: %w", ErrNoMetrics)
	}
	ratio, observed, err := usage(m, g.measured)
	if err != nil {
		return 0, 0, err
	}
	upWithUnready := g.unready.count > 0 && ratio > 1
	if !upWithUnready && g.missing.count == 0 {
		if c.within(ratio) {
			return current, observed, nil
		}
		return int(math.Ceil(ratio * float64(g.measured.count))), observed, nil
	}
	considered := g.measured
	if g.missing.count > 0 {
		assumeMissing(&considered, m, ratio)
	}
	if upWithUnready {
		considered.count += g.unready.count
		considered.request += g.unready.request
	}
	cautious, _, err := usage(m, considered)
	if err != nil {
		return 0, observed, err
	}
	if c.within(cautious) || (ratio < 1 && cautious > 1) || (ratio > 1 && cautious < 1) {
		return current, observed, nil
	}
	wish := int(math.Ceil(cautious * float64(considered.count)))
	if (cautious < 1 && wish > current) || (cautious > 1 && wish < current) {
		return current, observed, nil
	}
	return wish, observed, nil
}

// assumeMissing adds the pods without a metric at the value that damps the move: idle on the way up, full on the way
// down. At a ratio of exactly 1 the controller leaves them out of a utilization and counts them idle in a plain value.
func assumeMissing(g *group, m Metric, ratio float64) {
	utilization := m.Kind == CPUUtilization || m.Kind == MemoryUtilization
	if utilization && ratio == 1 {
		return
	}
	for i := range m.Pods {
		p := &m.Pods[i]
		if p.Deleting || p.Phase != Running || p.HasMetric {
			continue
		}
		g.count++
		g.request += p.Request
		switch {
		case ratio >= 1:
		case utilization:
			g.value += p.Request * max(100, m.Target) / 100
		default:
			g.value += m.Target
		}
	}
}

// usage returns measured over target, and the measured utilization (percent) or average, truncated as the controller does.
func usage(m Metric, g group) (ratio float64, observed int64, err error) {
	if m.Kind == CPUUtilization || m.Kind == MemoryUtilization {
		if g.request == 0 {
			return 0, 0, fmt.Errorf("calculate replicas: %w", ErrNoRequest)
		}
		observed = g.value * 100 / g.request
	} else {
		observed = g.value / int64(g.count)
	}
	return float64(observed) / float64(m.Target), observed, nil
}
