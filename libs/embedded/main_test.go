package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// helperEnv turns the test binary into one of the programs that the tests start and kill.
const helperEnv = "FORESHADOW_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "broker":
		runHelper(helperBroker)
	case "postgres":
		runHelper(helperPostgres)
	}
}

func runHelper(f func(context.Context) error) {
	if err := f(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func helperBroker(ctx context.Context) error {
	cfg := DefaultBrokerConfig()
	cfg.Listen, cfg.DataDir = os.Getenv("HELPER_LISTEN"), os.Getenv("HELPER_DIR")
	cfg.Ready = func(addr string) { fmt.Println(addr) }
	return RunBroker(ctx, cfg)
}

func helperPostgres(ctx context.Context) error {
	cfg := DefaultPostgresConfig()
	cfg.DataDir = os.Getenv("HELPER_DIR")
	server, err := StartPostgres(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println(server.URL(maintenanceDB))
	return server.Wait()
}

// helper is a started helper program.
type helper struct {
	cmd   *exec.Cmd
	ready string // the line it printed
}

// startHelper re-executes the test binary and waits for the line that says that it is ready.
func startHelper(t *testing.T, name string, env ...string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), helperEnv+"="+name), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd}
	t.Cleanup(func() { h.kill(t) })
	if _, err := fmt.Fscanln(out, &h.ready); err != nil {
		t.Fatalf("helper %s did not become ready: %v", name, err)
	}
	return h
}

// kill is kill -9, and waits until the process is gone.
func (h *helper) kill(t *testing.T) {
	t.Helper()
	if h.cmd.ProcessState != nil {
		return
	}
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = h.cmd.Wait() // "signal: killed" is what was asked for
}
