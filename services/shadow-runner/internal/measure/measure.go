package measure

import (
	"context"
	"errors"
	"fmt"
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
	// Left reports whether the instance in use is no longer ready, and since when; zero when that is not known or no load's doing.
	Left func() (at time.Time, gone bool)
	// Replace waits for an instance like the one that left, which is then the one in use; false when there is none in time.
	Replace func(ctx context.Context) (platform.Instance, bool)
	// Mix of requests.
	Mix *reservoir.Mix
	// Plan of the search.
	Plan probe.Plan
	// Limits are what the instance may use.
	Limits probe.Limits
	// TTL is how long the result holds.
	TTL time.Duration
}

// Capacity searches for the highest rate within the SLO. Its error is ctx's; everything else is a result that is not valid. A load
// under which the instance goes away is one that it does not carry, and one that answers well until it dies is not believed before
// another has died there, see package probe's Lost; one that goes away for another reason leaves a result that is not valid.
func (h *Holder) Capacity(ctx context.Context, o Order) (*foreshadowv1.CapacityMeasured, error) {
	search := probe.NewSearch(o.Plan)
	gone, err := h.search(ctx, o, search)
	if err != nil {
		return nil, err
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
	case gone != "":
		out.InvalidReason = gone
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

// search holds levels until the search is over. The result says which instance went away for another reason than the load, and when.
func (h *Holder) search(ctx context.Context, o Order, search *probe.Search) (gone string, err error) {
	instance, ended := o.Instance, h.Now()
	for {
		level, more := search.Next()
		switch {
		case more:
			step, at, left, err := h.Try(ctx, instance, o.Mix, level, o.Plan.SLO, o.Left)
			if err != nil {
				return "", err
			}
			if !left {
				search.Record(step)
				ended = h.Now()
				continue
			}
			if gone = wentAway(instance, level); at.IsZero() || !search.Lost(step, at.Sub(ended)) {
				return gone, nil
			}
		case search.Flooded():
			// Nothing but its platform can tell whether it comes back.
			if at, _, err := h.AwaitLoss(ctx, o.Left); err != nil || at.IsZero() {
				return "", err
			}
			search.LostSilent()
		default:
			return "", nil
		}
		next, ok := o.Replace(ctx)
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("wait for another instance: %w", err)
		}
		if !ok && search.Suspects() {
			return gone, nil // most likely it was rolled out
		}
		if !ok {
			return "", nil // what was carried until then is the answer
		}
		instance, ended = next, h.Now()
	}
}

func wentAway(i platform.Instance, level probe.Level) string {
	return fmt.Sprintf("the instance %s went away during the measurement, at %.2f requests/s, and not of too much load as far as can be told", i.ID, level.Rate)
}

// lossLook is how often it is looked whether an instance that is silent was given up.
const lossLook = 250 * time.Millisecond

// AwaitLoss waits as long as the platform may take to give up an instance that was flooded or has died, and says as left does
// whether it did.
func (h *Holder) AwaitLoss(ctx context.Context, left func() (time.Time, bool)) (at time.Time, gone bool, err error) {
	for end := h.Now().Add(probe.Aftermath); h.Now().Before(end); {
		if at, gone := left(); gone {
			return at, true, nil
		}
		if err := h.Wait(ctx, h.Now().Add(lossLook)); err != nil {
			return time.Time{}, false, fmt.Errorf("wait for the platform to give up a silent instance: %w", err)
		}
	}
	return time.Time{}, false, nil
}

func startup(i platform.Instance) float64 {
	if i.ReadyTime.IsZero() || i.StartTime.IsZero() {
		return 0
	}
	return max(0, i.ReadyTime.Sub(i.StartTime).Seconds())
}
