package command

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/services/stack"
)

// TestThePlanAsksTheInstancesOfUp: with up the platform's socket is where the configuration does not say.
func TestThePlanAsksTheInstancesOfUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	local, _ := stack.Sockets(dir)
	f := defaultFile()
	if got := f.beside(dir).LocalPlatform.Socket; got != f.LocalPlatform.Socket {
		t.Errorf("socket %q, want the configuration's while nothing runs in the directory", got)
	}
	for _, path := range []string{local, filepath.Join(dir, "own.sock")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.beside(dir); got.LocalPlatform.Socket != local || got.DockerPlatform.Socket != f.DockerPlatform.Socket {
		t.Errorf("sockets %q and %q, want up's and the configuration's", got.LocalPlatform.Socket, got.DockerPlatform.Socket)
	}
	f.LocalPlatform.Socket = filepath.Join(dir, "own.sock")
	if got := f.beside(dir).LocalPlatform.Socket; got != f.LocalPlatform.Socket {
		t.Errorf("socket %q, want the one that the configuration names and that is there", got)
	}
}

// TestUpMissesProgramsBeforeItStarts: each with its key, and nothing is left behind.
func TestUpMissesProgramsBeforeItStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, gone := filepath.Join(dir, "f.yaml"), filepath.Join(dir, "gone")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(declared, "./shop", gone)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	code := Main([]string{"up", "--config", path, "--dir", filepath.Join(dir, "up")}, &out, &problems)
	said := strings.Split(strings.TrimSpace(problems.String()), "\n")
	if code != 2 || len(said) != 2 || !strings.Contains(said[0], "f.yaml:5: workloads[0].production.process.command: ") || !strings.Contains(said[0], gone) ||
		!strings.Contains(said[1], "shadow.process.command") {
		t.Errorf("exit code %d, said %q; want a line for each of the two programs", code, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "up")); !os.IsNotExist(err) {
		t.Errorf("the run directory: %v, want none made", err)
	}
}

// TestAServiceThatIsAwayIsNamedPlainly: an address and what happened there, in no words of gRPC.
func TestAServiceThatIsAwayIsNamedPlainly(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	code := Main([]string{"experiment", "list", "--shadow-runner", address}, &out, &problems)
	if said := strings.TrimSpace(problems.String()); code != 1 || said != "foreshadow: list experiments: dial tcp "+address+": connect: connection refused" {
		t.Errorf("exit code %d, said %q", code, said)
	}
	if got := plain(`ask: rpc error: code = NotFound desc = workload "x": not found`); got != `ask: workload "x": not found` {
		t.Errorf("plain = %q", got)
	}
}
