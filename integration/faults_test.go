package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
	"github.com/foreshadow/foreshadow/services/stack/audit"
)

// TestKillsLoseNothing kills everything that keeps the books, one after another, in the middle of traffic. Every request is
// served, and every window holds exactly what was sent.
func TestKillsLoseNothing(t *testing.T) {
	w := start(t)
	ctx, leave := context.WithCancel(t.Context())
	var u users
	var wg sync.WaitGroup
	begin := time.Now().Truncate(time.Second)
	wg.Go(func() { u.come(ctx, "http://"+w.Listen(stack.Replicator), 60) })

	w.awaitRecommendation(0)
	generation := w.generation()
	for _, name := range []string{stack.Aggregator, stack.Predictor, stack.Provisioner, stack.Broker, stack.Aggregator, stack.Postgres} {
		w.kill(name) // it is started again; the next blow falls when it works
		w.awaitWindow(time.Now().Truncate(time.Second))
		w.awaitRecommendation(generation)
		generation = w.generation()
	}
	w.wentOnFromMemory()
	leave()
	wg.Wait()

	if len(u.failures) > 0 || u.sent == 0 {
		t.Errorf("of %d requests failed: %v", u.sent, u.failures)
	}
	cutoff := time.Now().Truncate(time.Second).Add(time.Second)
	w.awaitWindow(cutoff.Add(time.Second))
	sent, err := audit.Sent(t.Context(), w.broker, "shop", cutoff)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := audit.Stored(t.Context(), w.history, "shop", begin.Add(-time.Minute), cutoff)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range audit.Differences(sent, stored) {
		t.Error(d)
	}
	production := foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
	if got := stored.Requests(production, begin); got != uint64(u.sent) {
		t.Errorf("users sent %d requests, the windows hold %d", u.sent, got)
	}
	for s := begin.Unix() + 2; s < cutoff.Unix()-2; s++ {
		if _, ok := stored[audit.Window{Environment: production, Start: s}]; !ok {
			t.Errorf("the window at %d is lost", s)
		}
	}
	t.Logf("%d requests, %d windows, 6 kills", u.sent, len(stored))
}

// TestProductionDoesNotFeelTheRest compares users' latency while all is well with that while the shadow, the broker or the
// database is dead or hangs. The phases alternate, so that a slow machine is slow in both.
func TestProductionDoesNotFeelTheRest(t *testing.T) {
	w := start(t)
	ctx, leave := context.WithCancel(t.Context())
	var u users
	var wg sync.WaitGroup
	wg.Go(func() { u.come(ctx, "http://"+w.Listen(stack.Replicator), 60) })
	defer wg.Wait()
	defer leave()
	w.awaitWindow(time.Now())
	const phase = 4 * time.Second
	var well, ill []time.Duration
	well = append(well, u.during(t, phase))
	w.killShadow()
	ill = append(ill, u.during(t, phase))
	for _, name := range []string{stack.ShadowRunner, stack.Broker, stack.Postgres} {
		well = append(well, u.during(t, phase))
		if err := w.Signal(name, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ill = append(ill, u.during(t, phase))
		w.kill(name)
	}
	leave()
	wg.Wait()
	if len(u.failures) > 0 || u.sent == 0 {
		t.Errorf("of %d requests failed: %v", u.sent, u.failures)
	}
	for i, name := range []string{"shadow", "shadow-runner", "broker", "database"} {
		t.Logf("%s: median latency %v with it, %v without", name, well[i], ill[i])
		// A tap that waited would add its timeouts, seconds; a fifth is the noise of a busy machine.
		if ill[i] > well[i]+well[i]/5 {
			t.Errorf("%s away: median latency %v, was %v", name, ill[i], well[i])
		}
	}
}

// TestPauseSurvivesARestart: what a person has said holds, whatever dies.
func TestPauseSurvivesARestart(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	if _, err := w.steer.PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{Workload: "shop", Reason: "release", Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Signal(stack.Provisioner, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string {
		resp, err := w.steer.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: "shop"})
		if err != nil || !resp.GetStatus().GetPaused() || resp.GetStatus().GetPauseActor() != "ann" {
			return fmt.Sprintf("status is %v, %v", resp, err)
		}
		return ""
	})
}

// kill kills a child at once and returns when another one in its place is ready.
func (w *world) kill(name string) {
	w.t.Helper()
	old := w.PID(name)
	if err := w.Signal(name, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, 20*time.Second, func() string {
		if pid := w.PID(name); pid == 0 || pid == old {
			return name + " has not been started again"
		}
		return ""
	})
	w.awaitReady(name)
}

// wentOnFromMemory checks that the predictor that runs goes on from what one before it had learnt.
func (w *world) wentOnFromMemory() {
	w.t.Helper()
	resp, err := http.Get("http://" + w.Admin(stack.Predictor) + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !bytes.Contains(body, []byte(`foreshadow_predictor_memory_recalled_age_seconds{workload="shop"}`)) {
		w.t.Errorf("the predictor learns anew (%v)", err)
	}
}

// killShadow kills the instances of the shadow itself, of which there must be some.
func (w *world) killShadow() {
	w.t.Helper()
	eventually(w.t, 20*time.Second, func() string {
		killed := 0
		parent := fmt.Appendf(nil, "\nPPid:\t%d\n", w.PID(stack.LocalPlatform))
		processes, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range processes {
			env, _ := os.ReadFile(filepath.Join(dir, "environ")) // those of others cannot be read, and are not meant
			status, _ := os.ReadFile(filepath.Join(dir, "status"))
			if !bytes.Contains(env, []byte("FORESHADOW_INSTANCE=shop-shadow")) || !bytes.Contains(status, parent) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
		if killed == 0 {
			return "no instance of the shadow runs"
		}
		return ""
	})
}

func (w *world) awaitReady(name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.AwaitReady(ctx, name); err != nil {
		w.t.Fatal(err)
	}
}

// awaitWindow waits until a window of production that starts at or after a time can be read.
func (w *world) awaitWindow(since time.Time) {
	w.t.Helper()
	eventually(w.t, 40*time.Second, func() string {
		windows, err := audit.Stored(w.t.Context(), w.history, "shop", since.Truncate(time.Second), since.Add(time.Hour))
		if err != nil {
			return err.Error()
		}
		for key := range windows {
			if key.Environment == foreshadowv1.Environment_ENVIRONMENT_PRODUCTION {
				return ""
			}
		}
		return "no window since " + since.String()
	})
}

func (w *world) generation() uint64 {
	resp, err := w.advice.GetRecommendation(w.t.Context(), &foreshadowv1.GetRecommendationRequest{Workload: "shop"})
	if err != nil {
		return 0
	}
	return resp.GetRecommendation().GetGeneration()
}

// awaitRecommendation waits for a recommendation of a higher generation.
func (w *world) awaitRecommendation(after uint64) {
	w.t.Helper()
	eventually(w.t, 40*time.Second, func() string {
		if g := w.generation(); g <= after {
			return fmt.Sprintf("the generation is %d, not above %d", g, after)
		}
		return ""
	})
}
