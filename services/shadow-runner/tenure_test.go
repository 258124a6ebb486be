package shadowrunner_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// frail replaces the shadow's instance once much work has waited in it for longer than its SLO allows a request to take, as a platform
// does whose checks are not answered.
func (r *rig) frail(workers int, service, patience time.Duration, stop <-chan struct{}) {
	const much, look = 800 * time.Millisecond, time.Millisecond
	s, well := r.shadow, time.Now()
	for n := 2; ; {
		select {
		case <-stop:
			return
		case <-time.After(look):
		}
		if waiting := len(s.Seen()) - len(s.ServiceTimes()); time.Duration(waiting/workers)*service < much {
			well = time.Now()
		}
		if time.Since(well) < patience {
			continue
		}
		r.platform.set("shop-shadow")
		s = referencetest.New(r.t, workers, service)
		r.platform.set("shop-shadow", ready(fmt.Sprint("s", n), s.Address))
		n++
	}
}

// A shadow that is replaced whenever it has too much to do has a capacity, and it does not take many instances to learn it.
func TestTheCapacityOfAShadowThatIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	const workers, service = 1, 10 * time.Millisecond // at most 100 requests/s
	r := start(t, referencetest.New(t, workers, service), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout = 500*time.Millisecond, 3*time.Second
		w.Policy.CapacityHint = 400 // the first level is too much for certain, however busy the machine
		w.Replay.MinRequests, w.Replay.StepDuration, w.Replay.SettleDuration = 60, 2*time.Second, 300*time.Millisecond
	})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); r.frail(workers, service, 600*time.Millisecond, stop) }()
	defer func() { close(stop); <-done }()
	r.traffic()
	var c *foreshadowv1.CapacityMeasured
	blamed := 0
	r.await("a capacity that an instance was lost for", func() bool {
		for _, c = range read(r, kafka.TopicCapacityMeasured, func() *foreshadowv1.CapacityMeasured { return &foreshadowv1.CapacityMeasured{} }) {
			blamed = 0
			for _, s := range c.GetSteps() {
				if s.GetBroken() == "loss of the instance" {
					blamed++
				}
			}
			if c.GetValid() && blamed > 0 {
				return true
			}
		}
		return false
	})
	if c.GetRequestsPerSecond() > 110 || blamed > 3 || r.log.times("instance went away under load") < blamed {
		t.Errorf("%d levels were blamed: %v", blamed, c)
	}
}

// surge sends requests that are due soon, so that a busy machine has time to bring them there, and whose answers are compared: the
// shadow is sent them twice. It returns once they were replayed.
func (r *rig) surge(n int) {
	r.t.Helper()
	shape, err := bodyshape.Read("", []byte(`{}`))
	if err != nil {
		r.t.Fatal(err)
	}
	const ahead, gap = 2 * time.Second, 5 * time.Millisecond
	var batch []kafka.RawMessage
	begin := time.Now().Add(ahead)
	for i := range n {
		batch = append(batch, r.event(fmt.Sprint("s", i), "/", func(e *foreshadowv1.CapturedRequest) {
			e.ArriveTime = timestamppb.New(begin.Add(time.Duration(i) * gap))
			e.ResponseStatus, e.ResponseShape = 200, shape.Proto()
		}))
	}
	r.send(batch...)
	r.await("the surge to be replayed", func() bool {
		l := r.ledger("shadow-runner/replay")
		return l.Passed > 0 && l.Passed+l.Dropped["late"] == uint64(n)
	})
}

// TestAMeasurementWaitsForWhatIsReplayed gives a shadow more than it carries, and has what it has not answered wait in it until the
// runner wants to measure it.
func TestAMeasurementWaitsForWhatIsReplayed(t *testing.T) {
	t.Parallel()
	const service, surge = 10 * time.Millisecond, 100 // at most 100 requests/s
	shadow := referencetest.New(t, 1, service)
	r := start(t, shadow, func(w *workload.Workload) {
		w.Policy.CapacityHint, w.Replay.MinRequests, w.Replay.Timeout = 50, surge+60, time.Minute
		w.Replay.StepDuration, w.Replay.SettleDuration = 600*time.Millisecond, 0
	})
	shadow.Stall()
	r.surge(surge)
	r.await("all of it in the shadow", func() bool { return len(shadow.Seen()) == int(r.ledger("shadow-runner/replay").Passed) })
	r.traffic()
	r.await("the lease", func() bool {
		r.send(r.event("s", "/", nil))
		return r.ledger("shadow-runner/replay").Dropped["probing"] > 0
	})
	resumed := time.Now()
	shadow.Resume()
	before := 0 // requests that are no measurement's
	r.await("the measurement", func() bool {
		before = int(r.ledger("shadow-runner/replay").Passed + r.ledger("shadow-runner/compared").Passed)
		return r.ledger("shadow-runner/probe").Passed > 0 && len(shadow.Seen()) > before
	})
	if r.ledger("shadow-runner/compared").Passed == 0 {
		t.Error("nothing was compared")
	}
	if after, want := shadow.Seen()[before].Time.Sub(resumed), time.Duration(before)*service; after < want {
		t.Errorf("measured after %v, but the %d requests of replay and comparison take %v", after, before, want)
	}
}

// TestWhatWasComparedCanBeMeasured: the other instance that a request is sent to, to compare, is let go of.
func TestWhatWasComparedCanBeMeasured(t *testing.T) {
	t.Parallel()
	a, b := referencetest.New(t, 4, time.Millisecond), referencetest.New(t, 4, time.Millisecond)
	const some = 40
	r := start(t, a, func(w *workload.Workload) { w.Replay.MinRequests = some + 60 })
	r.platform.set("shop-shadow", ready("a", a.Address), ready("b", b.Address))
	r.surge(some)
	r.await("comparisons", func() bool {
		l := r.ledger("shadow-runner/compared")
		return l.Passed > 1 && l.Pending == 0
	})
	r.traffic()
	r.await("a measurement", func() bool { return r.ledger("shadow-runner/probe").Passed > 0 })
}
