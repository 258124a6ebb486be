package measure_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// The memory that counts is the highest reading while the level was held; bytes and calls are those of the level alone.
func TestWhatALevelUsedIsReadWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHolder(t, time.Second)
		h.Sender, h.Wait = md4{make(chan struct{}, 4)}, pace.Timer
		begin, readings := time.Now(), 0
		h.Usage = func(context.Context) ([]platform.Usage, error) {
			readings++
			memory := uint64(100)
			if readings == 3 {
				memory = 900 // a peak in the middle
			}
			seconds := time.Since(begin).Seconds()
			return []platform.Usage{{Instance: "s1", Time: time.Now(), MemoryBytes: memory, CPUSeconds: seconds / 4, ReceivedBytes: uint64(1000 * seconds), TransmittedBytes: uint64(9000 * seconds)}}, nil
		}
		calls := measure.Calls{Count: 10, Failed: 10, Seconds: 100}
		h.Downstream = func() measure.Calls {
			now := calls
			calls = measure.Calls{Count: 30, Failed: 11, Seconds: 101}
			return now
		}
		time.Sleep(time.Second)
		o := order(t, "virtual")
		step, err := h.Hold(t.Context(), o.Instance, o.Mix, probe.Level{Rate: 20, Hold: 5 * time.Second}, o.Plan.SLO)
		r := step.Resources
		if err != nil || r.MemoryBytes != 900 || math.Abs(r.CPUCores-0.25) > 0.01 || math.Abs(r.NetworkBytes-10_000) > 10 || r.DownstreamSeconds != 0.05 || r.DownstreamErrors != 0.05 {
			t.Errorf("used %+v, %v", r, err)
		}
	})
}
