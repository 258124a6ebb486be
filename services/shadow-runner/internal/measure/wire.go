package measure

import (
	"math"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Steps returns the wire form. A tail that was never answered has no finite latency; it is given as the largest number.
func Steps(steps []probe.Step) []*foreshadowv1.CapacityStep {
	out := make([]*foreshadowv1.CapacityStep, len(steps))
	for i, s := range steps {
		out[i] = Step(s)
	}
	return out
}

// Step returns the wire form of one step.
func Step(s probe.Step) *foreshadowv1.CapacityStep {
	finite := func(v float64) float64 { return min(v, math.MaxFloat32) }
	return &foreshadowv1.CapacityStep{
		OfferedPerSecond: s.Offered, CompletedPerSecond: s.Completed, LatencySeconds: finite(s.Latency),
		LowerLatencySeconds: finite(s.LatencyLower), UpperLatencySeconds: finite(s.LatencyUpper),
		ErrorRatio: s.ErrorRatio, ViolationRatio: s.ViolationRatio, ErrorClump: s.ErrorClump, ViolationClump: s.ViolationClump,
		Requests: uint32(s.Requests), Concurrency: s.Concurrency, MaxLagSeconds: s.MaxLag,
		CpuCores: s.Resources.CPUCores, MemoryBytes: s.Resources.MemoryBytes, NetworkBytesPerSecond: s.Resources.NetworkBytes,
		DownstreamSeconds: s.Resources.DownstreamSeconds, DownstreamErrorRatio: s.Resources.DownstreamErrors,
		SloMet: s.Met, Broken: s.Broken, Valid: s.Valid,
	}
}

// StepsFrom reads the wire form. Steps that were not valid are left out, and so are those of a version that did not say how
// many requests they had: nothing can be learnt from either. One that an instance was lost of stays, for it is not to be tried again.
func StepsFrom(list []*foreshadowv1.CapacityStep) []probe.Step {
	var out []probe.Step
	for _, p := range list {
		if !p.GetValid() && p.GetBroken() != probe.BrokenLost || p.GetRequests() == 0 || !(p.GetOfferedPerSecond() > 0) {
			continue
		}
		out = append(out, probe.Step{
			Offered: p.GetOfferedPerSecond(), Completed: p.GetCompletedPerSecond(), Latency: p.GetLatencySeconds(),
			LatencyLower: p.GetLowerLatencySeconds(), LatencyUpper: p.GetUpperLatencySeconds(),
			ErrorRatio: p.GetErrorRatio(), ViolationRatio: p.GetViolationRatio(), ErrorClump: p.GetErrorClump(), ViolationClump: p.GetViolationClump(),
			Requests: int(p.GetRequests()), Concurrency: p.GetConcurrency(), MaxLag: p.GetMaxLagSeconds(),
			Resources: probe.Resources{
				CPUCores: p.GetCpuCores(), MemoryBytes: p.GetMemoryBytes(), NetworkBytes: p.GetNetworkBytesPerSecond(),
				DownstreamSeconds: p.GetDownstreamSeconds(), DownstreamErrors: p.GetDownstreamErrorRatio(),
			},
			Met: p.GetSloMet(), Broken: p.GetBroken(), Valid: p.GetValid(),
		})
	}
	return out
}

func bottleneck(r probe.Resource) foreshadowv1.Bottleneck {
	return map[probe.Resource]foreshadowv1.Bottleneck{
		probe.CPU: foreshadowv1.Bottleneck_BOTTLENECK_CPU, probe.Memory: foreshadowv1.Bottleneck_BOTTLENECK_MEMORY,
		probe.Network: foreshadowv1.Bottleneck_BOTTLENECK_NETWORK, probe.Concurrency: foreshadowv1.Bottleneck_BOTTLENECK_CONCURRENCY,
		probe.Downstream: foreshadowv1.Bottleneck_BOTTLENECK_DOWNSTREAM,
	}[r]
}

func scalability(steps []probe.Step) *foreshadowv1.Scalability {
	s, ok := probe.FitScalability(steps)
	if !ok {
		return nil
	}
	return &foreshadowv1.Scalability{
		RequestsPerSecond: s.Rate, Contention: s.Contention, Coherency: s.Coherency,
		PeakConcurrency: s.Peak, PeakRequestsPerSecond: s.PeakRate, Fit: s.Fit,
	}
}
