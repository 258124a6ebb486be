//go:build linux

package reference_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

// cook has this program be a stove.
const cook = "FORESHADOW_TEST_COOK"

func TestMain(m *testing.M) {
	if os.Getenv(cook) != "" {
		if reference.Cook(-1) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func stove(t *testing.T) *reference.Stove {
	t.Helper()
	c := exec.Command(os.Args[0]) // #nosec G204: this program
	c.Env = append(os.Environ(), cook+"=1")
	s, err := reference.Light(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// serve runs a server until the test ends, and gives a client that opens a connection for each request in flight.
func serve(t *testing.T, r reference.Real) (url string, c *http.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := reference.Serve(ctx, ln, r, 1)
		done <- err
	}()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v after a clean stop", err)
		}
	})
	return "http://" + ln.Addr().String(), &http.Client{Transport: transport}
}

func TestAServerSaysHowItServed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]reference.Real{
		"waits": {Law: reference.Law{Workers: 2, Service: 5 * time.Millisecond}},
		"burns": {Law: reference.Law{Workers: 1, Service: 5 * time.Millisecond}, Burn: true},
	} {
		if r.Burn {
			r.Stove = stove(t)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var served reference.Served
			done := make(chan error, 1)
			go func() {
				var err error
				served, err = reference.Serve(ctx, ln, r, 1)
				done <- err
			}()
			transport := &http.Transport{}
			got := together(t, "http://"+ln.Addr().String(), &http.Client{Transport: transport}, 4)
			transport.CloseIdleConnections()
			stop()
			// A machine may serve more slowly than the law says, never faster.
			if err := <-done; err != nil || got[http.StatusOK] != 4 || len(served.Took) != 4 || served.MeanTook() < r.Law.Service || served.MeanLate() < 0 {
				t.Errorf("%v, %v: %+v", err, got, served)
			}
		})
	}
}

// together sends n requests at once and counts the statuses; 0 is none.
func together(t *testing.T, url string, c *http.Client, n int) map[int]int {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range n {
		wg.Go(func() {
			status := 0
			if resp, err := c.Get(url); err == nil {
				status = resp.StatusCode
				_ = resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	wg.Wait()
	return got
}

func TestRequestsLeaveWhenTheLawSays(t *testing.T) {
	t.Parallel()
	url, c := serve(t, reference.Real{Law: reference.Law{Workers: 2, Service: 50 * time.Millisecond}})
	begin := time.Now()
	got := together(t, url, c, 6)
	// Three rounds of two. Later is a busy machine, earlier is another law.
	if took := time.Since(begin); got[http.StatusOK] != 6 || took < 150*time.Millisecond {
		t.Errorf("six requests of 50 ms at two workers took %v: %v", took, got)
	}
}

func TestWhatThereIsNoWorkerForIsRefused(t *testing.T) {
	t.Parallel()
	long := reference.Law{Workers: 3, Service: 2 * time.Second, Refuses: true}
	for name, tc := range map[string]struct {
		real    reference.Real
		refused int
	}{
		"with an answer":  {reference.Real{Law: long, HoldBytes: 1 << 20}, http.StatusServiceUnavailable},
		"at the listener": {reference.Real{Law: long, Connections: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, c := serve(t, tc.real)
			if got := together(t, url, c, 5); got[http.StatusOK] != 3 || got[tc.refused] != 2 {
				t.Errorf("got %v of five, want three answers", got)
			}
			if got := together(t, url, c, 1); got[http.StatusOK] != 1 {
				t.Errorf("got %v once there is room again", got)
			}
		})
	}
}

func TestBurningUsesCPU(t *testing.T) {
	t.Parallel()
	s := stove(t)
	p, err := procfs.NewProc(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	used := func() float64 {
		s, err := p.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPUTime()
	}
	url, c := serve(t, reference.Real{Law: reference.Law{Workers: 1, Service: 50 * time.Millisecond}, Burn: true, Stove: s})
	before := used()
	// The kernel counts in ticks of 10 ms.
	if got := together(t, url, c, 6); got[http.StatusOK] != 6 || used()-before < 0.27 {
		t.Errorf("six times 50 ms used %.2f s: %v", used()-before, got)
	}
}

func TestRealCasesHaveAKnee(t *testing.T) {
	t.Parallel()
	for _, c := range reference.RealCases() {
		if knee := c.Real.Law.Knee(c.SLO); knee < 100 || knee > 2000 {
			t.Errorf("%s: knee %v/s: too slow to be measured in half a minute, or too much for one machine", c.Name, knee)
		}
	}
}
