package shadowrunner_test

import (
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// TestATapWhoseClockIsAheadIsLeftOut: what it says of the future must not pass for the newest that is known of production, nor wait
// in the queue where the others' requests are due.
func TestATapWhoseClockIsAheadIsLeftOut(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 4, 0), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout = 10*time.Second, 20*time.Second // held on a busy machine, too
	})
	r.refusesExperiments()
	r.send(r.event("ahead", "/", func(e *foreshadowv1.CapturedRequest) { e.ArriveTime.Seconds += 3600 }))
	r.await("the request of the future", func() bool { return r.ledger("shadow-runner/replay").Dropped["ahead"] == 1 })
	r.traffic()
	r.experiment("of today", 1)
}
