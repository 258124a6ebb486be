package shadowrunner_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
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
	const workers, service = 1, 10 * time.Millisecond // at most 100 requests/s, of which production sends 40
	r := start(t, referencetest.New(t, workers, service), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout = 500*time.Millisecond, 3*time.Second
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
