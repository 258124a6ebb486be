package measure

import (
	"context"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Calls is what the instances called of other services so far, counted since the runner began.
type Calls struct {
	// Count of calls that ended, Failed of them.
	Count, Failed uint64
	// Seconds they took in all.
	Seconds float64
}

// readEvery is how often the memory of an instance is read while a level is held: its peak is what counts.
const readEvery = time.Second

// meter reads what one instance uses while a level is held.
type meter struct {
	h      *Holder
	id     string
	before platform.Usage
	calls  Calls

	stop context.CancelFunc
	done sync.WaitGroup
	peak uint64
}

// newMeter takes the first reading; asking the platform takes time, so that comes before the load.
func (h *Holder) newMeter(ctx context.Context, id string) *meter {
	m := &meter{h: h, id: id, before: h.usage(ctx, id), calls: h.downstream()}
	if h.Usage == nil {
		return m
	}
	ctx, m.stop = context.WithCancel(ctx)
	m.done.Go(func() {
		for pace.Timer(ctx, h.Now().Add(readEvery)) == nil {
			m.peak = max(m.peak, h.usage(ctx, id).MemoryBytes)
		}
	})
	return m
}

// read is what was used since newMeter.
func (m *meter) read(ctx context.Context) probe.Resources {
	if m.stop != nil {
		m.stop()
		m.done.Wait()
	}
	after, calls := m.h.usage(ctx, m.id), m.h.downstream()
	r := probe.Resources{MemoryBytes: max(m.peak, after.MemoryBytes)}
	if n := calls.Count - m.calls.Count; n > 0 {
		r.DownstreamSeconds = (calls.Seconds - m.calls.Seconds) / float64(n)
		r.DownstreamErrors = float64(calls.Failed-m.calls.Failed) / float64(n)
	}
	seconds := after.Time.Sub(m.before.Time).Seconds()
	if m.before.Time.IsZero() || after.Time.IsZero() || seconds <= 0 {
		return r
	}
	r.CPUCores = max(0, after.CPUSeconds-m.before.CPUSeconds) / seconds
	moved := func(u platform.Usage) uint64 { return u.ReceivedBytes + u.TransmittedBytes }
	if moved(after) > moved(m.before) {
		r.NetworkBytes = float64(moved(after)-moved(m.before)) / seconds
	}
	return r
}

func (h *Holder) downstream() Calls {
	if h.Downstream == nil {
		return Calls{}
	}
	return h.Downstream()
}

// usage is the zero value when the platform cannot say: the resources of a step then stay unknown, its latency does not
// depend on them.
func (h *Holder) usage(ctx context.Context, id string) platform.Usage {
	if h.Usage == nil {
		return platform.Usage{}
	}
	list, err := h.Usage(ctx)
	if err != nil {
		return platform.Usage{}
	}
	for _, u := range list {
		if u.Instance == id {
			return u
		}
	}
	return platform.Usage{}
}
