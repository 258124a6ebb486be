package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/stack"
)

// reserve starts a second shadow-runner beside the stack's, and returns its log and what stops it cleanly.
func (w *world) reserve() (log string, stop func()) {
	w.t.Helper()
	log = filepath.Join(w.dir, "logs", "reserve.log")
	out, err := os.Create(log)
	if err != nil {
		w.t.Fatal(err)
	}
	command := exec.Command(binary, stack.ShadowRunner, "--config", filepath.Join(w.dir, "config.yaml"))
	command.Env = append(os.Environ(), "FORESHADOW_KAFKA_BROKERS="+w.Listen(stack.Broker), "FORESHADOW_LOCAL_PLATFORM_SOCKET="+w.Listen(stack.LocalPlatform),
		"FORESHADOW_SHADOW_RUNNER_LISTEN="+deadAddress(w.t), "FORESHADOW_SHADOW_RUNNER_ADMIN="+deadAddress(w.t))
	command.Stdout, command.Stderr = out, out
	if err := command.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		defer func() { _ = out.Close() }()
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			w.t.Error(err)
		}
		if err := command.Wait(); err != nil {
			w.t.Errorf("the second runner ended with: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return log, stop
}

// awaitLog waits until a log holds a text so many times.
func awaitLog(t *testing.T, file, text string, times int) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		data, err := os.ReadFile(file)
		if n := strings.Count(string(data), text); err != nil || n != times {
			return fmt.Sprintf("%s says %q %d times, want %d (%v)", filepath.Base(file), text, n, times, err)
		}
		return ""
	})
}

// TestARunnerInReserveTakesOver has the runner with the seat hang until another has it. When it wakes up it finds that out, and is the
// one in reserve until the other is stopped.
func TestARunnerInReserveTakesOver(t *testing.T) {
	w := start(t)
	ctx, leave := context.WithCancel(t.Context())
	var u users
	var wg sync.WaitGroup
	wg.Go(func() { u.come(ctx, "http://"+w.Listen(stack.Replicator), 40) })
	defer wg.Wait()
	defer leave()
	const taken, lost, measured = `"seat taken"`, `"seat lost"`, `"capacity measurement ended"`
	first := filepath.Join(w.dir, "logs", stack.ShadowRunner+".log")
	awaitLog(t, first, taken, 1)
	second, stop := w.reserve()
	awaitLog(t, second, `"partitions assigned"`, 1)
	eventually(t, time.Minute, func() string {
		if data, err := os.ReadFile(first); err != nil || !strings.Contains(string(data), measured) {
			return fmt.Sprintf("the first has measured nothing (%v)", err)
		}
		return ""
	})
	awaitLog(t, second, taken, 0)
	awaitLog(t, second, `"capacity measurement started"`, 0)

	if err := w.Signal(stack.ShadowRunner, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, second, taken, 1)
	if err := w.Signal(stack.ShadowRunner, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, first, lost, 1)
	awaitLog(t, second, lost, 0)
	stop()
	awaitLog(t, first, taken, 2)
	w.awaitReady(stack.ShadowRunner)
}
