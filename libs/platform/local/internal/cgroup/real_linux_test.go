package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	roleVariable = "CGROUP_TEST_ROLE"
	hangTimeout  = time.Minute // a bound on hangs, not a measure of speed
)

// TestMain lets the test binary be the processes that are bounded.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "spin":
		for n := 0; ; n++ {
			runtime.KeepAlive(n)
		}
	case "eat":
		var eaten [][]byte
		for {
			page := make([]byte, 1<<20)
			for i := 0; i < len(page); i += 4096 {
				page[i] = 1
			}
			eaten = append(eaten, page)
			if len(eaten) > 1<<12 { // it was not bounded
				os.Exit(0)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

// start starts the test binary in a group, as the caller's own thread does.
func start(t *testing.T, g *Group, role string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{roleVariable + "=" + role, "GOMAXPROCS=1", "GOTRACEBACK=none"}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it
		started <- g.Start(cmd)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return cmd
}

// realTree is that of this machine.
func realTree(t *testing.T) *Tree {
	t.Helper()
	tree, err := Find()
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	t.Logf("groups are made in %s", tree)
	return tree
}

func newGroup(t *testing.T, tree *Tree, name string, size platform.Size) *Group {
	t.Helper()
	g, err := tree.New("test-"+name, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		for _, dir := range g.dirs() {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is there", dir)
			}
		}
	})
	return g
}

// A process with a tenth of a core is held up at some time; how fast the machine is makes no difference.
func TestCPUIsBounded(t *testing.T) {
	t.Parallel()
	g := newGroup(t, realTree(t), "cpu", platform.Size{CPUCores: 0.1})
	cmd := start(t, g, "spin")
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for end := time.Now().Add(hangTimeout); ; time.Sleep(20 * time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join(g.dirs()[0], "cpu.stat"))
		if err != nil {
			t.Fatal(err)
		}
		if s := string(stat); strings.Contains(s, "nr_throttled ") && !strings.Contains(s, "nr_throttled 0\n") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it was never held up: %s", stat)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	cmd := start(t, newGroup(t, realTree(t), "memory", platform.Size{MemoryBytes: 64 << 20}), "eat")
	err := cmd.Wait()
	if status, is := cmd.ProcessState.Sys().(syscall.WaitStatus); !is || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("a process that wants 4 GiB ended with %v", err)
	}
}

// This thread itself must not stay where it has started a process.
func TestTheThreadIsBackWhereItWas(t *testing.T) {
	t.Parallel()
	g := newGroup(t, realTree(t), "thread", platform.Size{})
	own := func() string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/cgroup", syscall.Gettid()))
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		before := own()
		cmd := exec.Command("/bin/sh", "-c", "cat /proc/self/cgroup")
		out := &strings.Builder{}
		cmd.Stdout = out
		if err := g.Start(cmd); err != nil {
			t.Error(err)
			return
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if after := own(); after != before {
			t.Errorf("it is in\n%s and was in\n%s", after, before)
		}
		if err := g.Start(exec.Command("/nowhere/to/be/found")); err == nil || own() != before {
			t.Errorf("a program that is not there: %v; the thread is in\n%s", err, own())
		}
		if n := strings.Count(out.String(), g.name); n != len(g.dirs()) {
			t.Errorf("the process was in\n%s", out)
		}
	}()
	<-done
}

// Version 2 without its controllers, as beside version 1, bounds nothing; that a process starts in its group can be seen.
func TestAProcessStartsInAGroupOfVersion2(t *testing.T) {
	t.Parallel()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	at, mounted := parseMounts(string(mounts))[""]
	if !mounted || syscall.Access(at, 2) != nil {
		t.Skip("NOT TESTED: no hierarchy of version 2 that may be written to")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	tree := &Tree{unified: filepath.Join(at, parseGroups(string(own))[""])}
	g, err := tree.New("test-v2", platform.Size{})
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	cmd := exec.Command("/bin/sh", "-c", "cat /proc/self/cgroup")
	out := &strings.Builder{}
	cmd.Stdout = out
	if err := g.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "0::") || !strings.Contains(out.String(), g.name) {
		t.Errorf("it was in\n%s, %v", out, err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}

// What a process that was killed has left is gone; what one that lives has made is not, empty as it may be.
func TestWhatIsLeftIsRemoved(t *testing.T) {
	t.Parallel()
	tree := realTree(t)
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(tree.dirs()[0], fmt.Sprintf("%s%d-x", prefix, gone.Process.Pid))
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	used := newGroup(t, tree, "used", platform.Size{})
	tree.sweep()
	if _, err := os.Stat(left); err == nil {
		t.Error("what is left is there")
	}
	if _, err := os.Stat(used.dirs()[0]); err != nil {
		t.Errorf("the one of a process that lives: %v", err)
	}
}
