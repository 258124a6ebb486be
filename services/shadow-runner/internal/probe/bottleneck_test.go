package probe_test

import (
	"testing"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// level is what an instance did and used at a rate; one that did not meet the SLO broke its latency.
func level(offered, completed float64, met bool, used probe.Resources) probe.Step {
	s := probe.Step{Offered: offered, Completed: completed, Met: met, Valid: true, Resources: used}
	if !met {
		s.Broken = probe.BrokenLatency
	}
	return s
}

func TestBottleneck(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	cpu := func(cores float64) probe.Resources { return probe.Resources{CPUCores: cores} }
	refusing := level(120, 120, false, probe.Resources{CPUCores: 0.2})
	refusing.Broken, refusing.ErrorRatio = probe.BrokenErrors, 0.02
	tests := map[string]struct {
		ease   probe.Resources
		over   probe.Step
		limits probe.Limits
		want   probe.Resource
	}{
		"all of two cores":              {cpu(1), level(120, 65, false, cpu(1.9)), probe.Limits{CPUCores: 2}, probe.CPU},
		"one thread of many cores":      {cpu(0.5), level(120, 65, false, cpu(0.97)), probe.Limits{}, probe.CPU},
		"idle and flat":                 {cpu(0.1), level(120, 66, false, cpu(0.2)), probe.Limits{CPUCores: 2}, probe.Concurrency},
		"idle and flat, limit unknown":  {cpu(0.1), level(120, 66, false, cpu(0.2)), probe.Limits{}, probe.Concurrency},
		"idle and refusing":             {cpu(0.1), refusing, probe.Limits{CPUCores: 2}, probe.Concurrency},
		"idle but completing more":      {cpu(0.1), level(120, 110, false, cpu(0.2)), probe.Limits{CPUCores: 2}, probe.UnknownResource},
		"half busy":                     {cpu(0.4), level(120, 65, false, cpu(1.5)), probe.Limits{CPUCores: 2}, probe.UnknownResource},
		"CPU not known":                 {cpu(0), level(120, 65, false, cpu(0)), probe.Limits{CPUCores: 2}, probe.UnknownResource},
		"nothing above the knee broken": {cpu(0.4), level(60, 60, true, cpu(0.9)), probe.Limits{CPUCores: 1}, probe.UnknownResource},
		"memory that grew to its limit": {
			probe.Resources{CPUCores: 0.1, MemoryBytes: 100 * mib}, level(120, 65, false, probe.Resources{CPUCores: 0.2, MemoryBytes: 480 * mib}),
			probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib}, probe.Memory,
		},
		"memory that is a cache": {
			probe.Resources{CPUCores: 0.1, MemoryBytes: 470 * mib}, level(120, 65, false, probe.Resources{CPUCores: 0.2, MemoryBytes: 480 * mib}),
			probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib}, probe.Concurrency,
		},
		"memory nearer to its limit than CPU": {
			probe.Resources{CPUCores: 1, MemoryBytes: 100 * mib}, level(120, 65, false, probe.Resources{CPUCores: 1.8, MemoryBytes: 511 * mib}),
			probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib}, probe.Memory,
		},
		"the link is full": {
			probe.Resources{CPUCores: 0.1, NetworkBytes: 1e6}, level(120, 65, false, probe.Resources{CPUCores: 0.3, NetworkBytes: 1.2e7}),
			probe.Limits{CPUCores: 2, NetworkBytes: 1.25e7}, probe.Network,
		},
		"what it calls became slow": {
			probe.Resources{CPUCores: 0.1, DownstreamSeconds: 0.01}, level(120, 65, false, probe.Resources{CPUCores: 0.3, DownstreamSeconds: 0.2}),
			probe.Limits{CPUCores: 2}, probe.Downstream,
		},
		"what it calls fails": {
			probe.Resources{CPUCores: 0.1, DownstreamSeconds: 0.01}, level(120, 65, false, probe.Resources{CPUCores: 0.3, DownstreamSeconds: 0.01, DownstreamErrors: 0.1}),
			probe.Limits{CPUCores: 2}, probe.Downstream,
		},
		"what it calls is as it was": {
			probe.Resources{CPUCores: 0.1, DownstreamSeconds: 0.01}, level(120, 65, false, probe.Resources{CPUCores: 0.3, DownstreamSeconds: 0.011}),
			probe.Limits{CPUCores: 2}, probe.Concurrency,
		},
	}
	for name, tc := range tests {
		steps := []probe.Step{level(50, 50, true, tc.ease), tc.over}
		if got := probe.Bottleneck(steps, 65, tc.limits); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
