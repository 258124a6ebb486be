package measure

import (
	"context"
	"errors"
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
	// Limits are what the instance may use.
	Limits probe.Limits
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
		GivenCpuCores: max(0, o.Instance.Size.CPUCores), GivenMemoryBytes: uint64(max(0, o.Instance.Size.MemoryBytes)),
		MeasureTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(o.TTL)),
		SloLatencySeconds: o.Plan.SLO.Latency.Seconds(), SloQuantile: o.Plan.SLO.Quantile,
		Steps: Steps(search.Steps()), Mix: o.Mix.Shares(), MixRequests: o.Mix.Requests(), StartupSeconds: startup(o.Instance),
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
		out.Precise = knee.Precise
		out.Bottleneck = bottleneck(probe.Bottleneck(search.Steps(), knee.Rate, o.Limits))
		out.Scalability = scalability(search.Steps())
	}
	return out, nil
}

func startup(i platform.Instance) float64 {
	if i.ReadyTime.IsZero() || i.StartTime.IsZero() {
		return 0
	}
	return max(0, i.ReadyTime.Sub(i.StartTime).Seconds())
}
