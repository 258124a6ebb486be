package measure

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// Order asks for the capacity of one instance.
type Order struct {
	// Workload is its name.
	Workload string
	// Instance to be measured.
	Instance platform.Instance
	// StillReady reports whether the instance is there and ready; a measurement of one that went away is not valid.
	StillReady func() bool
	// Mix of requests.
	Mix *reservoir.Mix
	// Plan of the search.
	Plan probe.Plan
	// Cores the instance may use; 0 when not known.
	Cores float64
	// TTL is how long the result holds.
	TTL time.Duration
}

// Capacity searches for the highest rate within the SLO. Its error is ctx's; everything else is a result that is not valid.
func (h *Holder) Capacity(ctx context.Context, o Order) (*foreshadowv1.CapacityMeasured, error) {
	search := probe.NewSearch(o.Plan)
	gone := false
	for !gone {
		level, more := search.Next()
		if !more {
			break
		}
		step, err := h.Hold(ctx, o.Instance, o.Mix, level, o.Plan.SLO)
		if err != nil {
			return nil, err
		}
		search.Record(step)
		gone = !o.StillReady()
	}
	now := h.Now()
	out := &foreshadowv1.CapacityMeasured{
		Workload: o.Workload, Version: o.Instance.Version,
		MeasureTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(o.TTL)),
		SloLatencySeconds: o.Plan.SLO.Latency.Seconds(), SloQuantile: o.Plan.SLO.Quantile,
		Steps: Steps(search.Steps()), Mix: o.Mix.Shares(), StartupSeconds: startup(o.Instance),
	}
	knee, err := search.Knee()
	var invalid *probe.InvalidError
	switch {
	case gone:
		out.InvalidReason = "the instance " + o.Instance.ID + " went away during the measurement"
	case errors.As(err, &invalid):
		out.InvalidReason = invalid.Reason
	default:
		out.Valid = true
		out.RequestsPerSecond, out.LowerRequestsPerSecond, out.UpperRequestsPerSecond = knee.Rate, knee.Lower, knee.Upper
		out.Bottleneck = bottleneck(probe.Bottleneck(search.Steps(), knee.Rate, o.Cores))
	}
	return out, nil
}

// Steps returns the wire form. A tail that was never answered has no finite latency; it is given as the largest number.
func Steps(steps []probe.Step) []*foreshadowv1.CapacityStep {
	out := make([]*foreshadowv1.CapacityStep, len(steps))
	for i, s := range steps {
		out[i] = &foreshadowv1.CapacityStep{
			OfferedPerSecond: s.Offered, CompletedPerSecond: s.Completed, LatencySeconds: min(s.Latency, math.MaxFloat32),
			ErrorRatio: s.ErrorRatio, CpuCores: s.CPUCores, MemoryBytes: s.MemoryBytes, MaxLagSeconds: s.MaxLag, SloMet: s.Met,
		}
	}
	return out
}

func bottleneck(r probe.Resource) foreshadowv1.Bottleneck {
	switch r {
	case probe.CPU:
		return foreshadowv1.Bottleneck_BOTTLENECK_CPU
	case probe.Concurrency:
		return foreshadowv1.Bottleneck_BOTTLENECK_CONCURRENCY
	}
	return foreshadowv1.Bottleneck_BOTTLENECK_UNSPECIFIED
}

func startup(i platform.Instance) float64 {
	if i.ReadyTime.IsZero() || i.StartTime.IsZero() {
		return 0
	}
	return max(0, i.ReadyTime.Sub(i.StartTime).Seconds())
}
