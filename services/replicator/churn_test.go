package replicator_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// instance is a server that ends like a well-behaved process: Shutdown closes idle connections and finishes the others.
type instance struct {
	server  http.Server
	address string
	done    chan error
	open    atomic.Int64 // connections
}

func newInstance(t *testing.T, h http.HandlerFunc) *instance {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{address: ln.Addr().String(), done: make(chan error, 1)}
	i.server = http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			i.open.Add(1)
		case http.StateClosed:
			i.open.Add(-1)
		}
	}}
	go func() { i.done <- i.server.Serve(ln) }()
	return i
}

func (i *instance) stop(t *testing.T) {
	t.Helper()
	if err := i.server.Shutdown(t.Context()); err != nil {
		t.Errorf("stop instance: %v", err)
	}
	<-i.done
}

// drainGrace covers the requests that were given to the instance and have not dialled yet; platforms allow far more.
const drainGrace = 20 * time.Millisecond

// TestNoRequestIsLostWhileInstancesComeAndGo replaces every instance several times under load, the way a platform does: the
// new one is ready before the old one drains, and the old one stops when it has finished.
func TestNoRequestIsLostWhileInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: func(c *replicator.Config) { c.WaitReady = 5 * time.Second }})
	var served [12]atomic.Int64
	run := func(i int) *instance {
		return newInstance(t, func(w http.ResponseWriter, req *http.Request) {
			served[i].Add(1)
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Errorf("instance %d reads: %v", i, err)
			}
			_, _ = w.Write(body)
		})
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	var sent atomic.Int64
	a, b := run(0), run(1)
	r.platform.set(ready("0", a.address), ready("1", b.address))
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				want := strings.Repeat(fmt.Sprint(worker, "-", i, " "), 1+i%50)
				sent.Add(1)
				if code, body := do(t, r.client, request(t, http.MethodPost, r.url, want)); code != 200 || body != want {
					t.Errorf("request got %d and %d bytes of %d", code, len(body), len(want))
				}
			}
		})
	}
	for i := 2; i < len(served); i++ {
		next, old := run(i), ready(fmt.Sprint(i-2), a.address)
		r.platform.set(old, ready(fmt.Sprint(i-1), b.address), ready(fmt.Sprint(i), next.address))
		waitFor(t, "the new instance serves", func() bool { return served[i].Load() > 20 })
		old.Phase = platform.Draining
		r.platform.set(old, ready(fmt.Sprint(i-1), b.address), ready(fmt.Sprint(i), next.address))
		// The platform gives notice before it stops an instance. A replicator that has taken notice has no connection left.
		waitFor(t, "the replicator lets go of the draining instance", func() bool { return a.open.Load() == 0 })
		time.Sleep(drainGrace)
		a.stop(t)
		r.platform.set(ready(fmt.Sprint(i-1), b.address), ready(fmt.Sprint(i), next.address))
		a, b = b, next
	}
	close(done)
	wg.Wait()
	r.stop()
	a.stop(t)
	b.stop(t)
	_, sum := r.observed()
	total := sum.Total()
	if total.Requests != uint64(sent.Load()) || total.Errors != 0 {
		t.Errorf("sent %d, observed %+v", sent.Load(), total)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond) // what is waited for has no signal
	}
}

func TestLoadIsBalanced(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	var counts [3]atomic.Int64
	var servers [3]*httptest.Server
	for i := range servers {
		servers[i] = serve(t, func(http.ResponseWriter, *http.Request) { counts[i].Add(1) })
	}
	r.use(servers[:]...)
	for range 300 {
		do(t, r.client, request(t, http.MethodGet, r.url, ""))
	}
	for i := range counts {
		if n := counts[i].Load(); n < 95 || n > 105 {
			t.Errorf("instance %d served %d of 300", i, n)
		}
	}
}
