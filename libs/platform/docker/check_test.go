package docker

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// What takes a check and does not answer it is busy, and is replaced only when that does not end.
func TestABusyInstanceIsGivenTime(t *testing.T) {
	t.Parallel()
	hanging := func(t *testing.T, hungAfter time.Duration) (r *rig, busy platform.Instance, asked *atomic.Int64) {
		r, asked = newRig(t), &atomic.Int64{}
		r.timing.checkTimeout, r.timing.patience.HungAfter = 50*time.Millisecond, hungAfter
		c := r.Compose("shop", "web")
		r.start()
		busy = r.await("the template", ready(1)).Instances[0]
		c.Handle(func(_ http.ResponseWriter, q *http.Request) {
			asked.Add(1)
			<-q.Context().Done()
		})
		return r, busy, asked
	}
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		r, busy, asked := hanging(t, hangTimeout)
		r.until("more checks than may be refused", func() bool { return asked.Load() > 5 })
		r.Find("shop-web-1").Answer(http.StatusOK)
		if s, err := r.client.State(t.Context(), "web"); err != nil || s.Ready() != 1 || s.Instances[0].ID != busy.ID {
			t.Errorf("state %+v, %v, want %s ready", s, err, busy.ID)
		}
	})
	t.Run("hung", func(t *testing.T) {
		t.Parallel()
		r, hung, _ := hanging(t, 200*time.Millisecond)
		r.await("it to be given up", func(s platform.State) bool {
			return len(s.Instances) == 0 || s.Instances[0].ID != hung.ID || s.Instances[0].Phase != platform.Ready
		})
		r.Find("shop-web-1").Answer(http.StatusOK)
		r.await("another in its place", func(s platform.State) bool { return ready(1)(s) && s.Instances[0].ID != hung.ID })
	})
}

// An engine that does not say how a container is says nothing against it.
func TestAnEngineThatFailsIsNotHeldAgainstAnInstance(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(d *workload.Docker) { d.ReadyPath = "" })
	c := r.Compose("shop", "web")
	c.SetHealth(container.Healthy)
	r.start()
	before := r.await("it to be healthy", ready(1)).Instances[0]
	var refused atomic.Int64
	r.Inject(func(q *http.Request) int {
		if !strings.HasSuffix(q.URL.Path, "/json") || strings.HasSuffix(q.URL.Path, "/containers/json") {
			return 0
		}
		refused.Add(1)
		return http.StatusInternalServerError
	})
	r.until("more refusals than an instance has", func() bool { return refused.Load() > 5 })
	r.Inject(nil)
	if s := r.await("it to be there", ready(1)); s.Instances[0].ID != before.ID || len(c.Stops()) > 0 {
		t.Errorf("state %+v, stopped %v, want %s", s, c.Stops(), before.ID)
	}
	c.SetHealth(container.Unhealthy)
	r.await("it to be given up", func(s platform.State) bool {
		return len(s.Instances) == 0 || s.Instances[0].ID != before.ID || s.Instances[0].Phase != platform.Ready
	})
}
