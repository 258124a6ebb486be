package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
	"github.com/foreshadow/foreshadow/services/stack/audit"
)

// previousVariable names the program of the previous release.
const previousVariable = "FORESHADOW_PREVIOUS"

// switcher runs each child as the release that a file beside it names.
const switcher = `#!/bin/sh
exec "$(cat %q/"$1")" "$@"
`

// TestUpgradeInAnyOrder upgrades a running stack service by service, in an order of chance, takes some of them back, and upgrades
// those again. N runs beside N-1 all the while: recommendations go on, no request of a user fails but while the replicator itself
// is replaced, and every window holds exactly what was sent.
func TestUpgradeInAnyOrder(t *testing.T) {
	previous := os.Getenv(previousVariable)
	if previous == "" {
		t.Skipf("NOT TESTED beside the previous release: %s names none; `make test-upgrade` builds it", previousVariable)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "foreshadow")
	if err := os.WriteFile(program, fmt.Appendf(nil, switcher, dir), 0o755); err != nil { // #nosec G306: it is a program
		t.Fatal(err)
	}
	release := func(name, binary string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(binary), 0o644); err != nil { // #nosec G306: children of another user read it
			t.Fatal(err)
		}
	}
	services := []string{stack.Aggregator, stack.Predictor, stack.Provisioner, stack.ShadowRunner, stack.Console, stack.Replicator}
	for _, name := range services {
		release(name, previous)
	}
	for _, name := range []string{stack.Postgres, stack.Broker, stack.LocalPlatform} {
		release(name, binary)
	}
	w := startProgram(t, program)
	ctx, leave := context.WithCancel(t.Context())
	var u users
	var wg sync.WaitGroup
	begin := time.Now().Truncate(time.Second)
	wg.Go(func() { u.come(ctx, "http://"+w.Listen(stack.Replicator), 40) })
	w.awaitRecommendation(0)
	failed := 0
	replace := func(name, with string) {
		before := u.failed()
		generation := w.generation()
		release(name, with)
		old := w.PID(name)
		if err := w.Signal(name, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() string {
			if pid := w.PID(name); pid == 0 || pid == old {
				return name + " has not been started again"
			}
			return ""
		})
		w.awaitReady(name)
		w.awaitWindow(time.Now().Truncate(time.Second))
		w.awaitRecommendation(generation)
		n := u.failed() - before
		if failed += n; n > 0 && name != stack.Replicator {
			t.Errorf("%d requests failed while %s was replaced", n, name)
		}
	}
	seed := uint64(time.Now().UnixNano()) // #nosec G115: after 1970
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	order := random.Perm(len(services))
	for _, i := range order {
		t.Logf("%s: N-1 -> N", services[i])
		replace(services[i], binary)
	}
	for _, i := range order[:3] {
		t.Logf("%s: N -> N-1 -> N", services[i])
		replace(services[i], previous)
		replace(services[i], binary)
	}
	leave()
	wg.Wait()
	w.compare(begin, &u, failed)
}

// failed is how many requests have failed so far.
func (u *users) failed() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, c := range u.failures {
		n += c
	}
	return n
}

// compare compares every window with what was sent, and all of them with what users sent but for those who were turned away.
func (w *world) compare(begin time.Time, u *users, turnedAway int) {
	w.t.Helper()
	cutoff := time.Now().Truncate(time.Second).Add(time.Second)
	w.awaitWindow(cutoff.Add(time.Second))
	sent, err := audit.Sent(w.t.Context(), w.broker, "shop", cutoff)
	if err != nil {
		w.t.Fatal(err)
	}
	stored, err := audit.Stored(w.t.Context(), w.history, "shop", begin.Add(-time.Minute), cutoff)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range audit.Differences(sent, stored) {
		w.t.Error(d)
	}
	got := stored.Requests(foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, begin)
	if got > uint64(u.sent) || got < uint64(u.sent-turnedAway) {
		w.t.Errorf("users sent %d requests, of which %d may not have come in; the windows hold %d", u.sent, turnedAway, got)
	}
	w.t.Logf("%d requests, %d of them turned away while the replicator was replaced; %d windows", u.sent, turnedAway, len(stored))
}
