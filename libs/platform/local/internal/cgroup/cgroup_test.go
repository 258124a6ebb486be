package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func TestMounts(t *testing.T) {
	t.Parallel()
	got := parseMounts(`22 1 0:21 / /proc rw,nosuid - proc proc rw
36 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
37 25 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 25 0:33 / /sys/fs/with\040space rw,relatime - cgroup2 cgroup2 rw,nsdelegate
torn 38 25
`)
	for name, want := range map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory", "": "/sys/fs/with space"} {
		if got[name] != want {
			t.Errorf("%q is mounted at %q, want %q", name, got[name], want)
		}
	}
}

func TestOwnGroups(t *testing.T) {
	t.Parallel()
	got := parseGroups("9:name=systemd:/init.scope\n4:cpu,cpuacct:/a:b\n3:memory:/m\n0::/user.slice/x.scope\ntorn\n")
	want := map[string]string{"name=systemd": "/init.scope", "cpu": "/a:b", "cpuacct": "/a:b", "memory": "/m", "": "/user.slice/x.scope"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// fake makes directories that look like mounted hierarchies, and the two files that name them.
type fake struct {
	t                            *testing.T
	root, mountinfo, own, mounts string
}

func newFake(t *testing.T) *fake {
	root := t.TempDir()
	return &fake{t: t, root: root, mountinfo: filepath.Join(root, "mountinfo"), own: filepath.Join(root, "cgroup")}
}

func (f *fake) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) read(path string) string {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.root, path))
	if err != nil {
		f.t.Error(err)
	}
	return string(data)
}

func (f *fake) mount(at, kind, options string) {
	f.mounts += fmt.Sprintf("36 25 0:31 / %s rw - %s cgroup %s\n", filepath.Join(f.root, at), kind, options)
	f.write("mountinfo", f.mounts)
}

// unified is a group of version 2 as systemd delegates it, with this process in the group agent below it.
func unified(t *testing.T, controllers string) *fake {
	f := newFake(t)
	f.mount("v2", "cgroup2", "rw")
	f.write("v2/unit/cgroup.controllers", controllers)
	f.write("v2/unit/cgroup.subtree_control", "")
	f.write("v2/unit/agent/cgroup.controllers", "")
	f.write("v2/unit/agent/cgroup.subtree_control", "")
	f.write("cgroup", "0::/unit/agent\n")
	return f
}

func TestVersion2IsUsedWhereItIsDelegated(t *testing.T) {
	t.Parallel()
	f := unified(t, "cpuset cpu io memory pids")
	var asked []string
	// Files stand in for those of the kernel, and stay in a directory that the kernel would let go: so the probe is not removed.
	_, err := find(f.mountinfo, f.own, func(dir string) bool { asked = append(asked, dir); return true })
	unit := filepath.Join(f.root, "v2/unit")
	if err == nil || !strings.Contains(err.Error(), "in "+filepath.Join(unit, "agent")+": the controller cpu is not delegated") {
		t.Errorf("find = %v", err)
	}
	if len(asked) != 1 || asked[0] != unit {
		t.Errorf("asked whether %v were given", asked)
	}
	if got := f.read("v2/unit/cgroup.subtree_control"); got != "+memory" { // the kernel would hold both
		t.Errorf("passed on %q", got)
	}
	tree := &Tree{unified: unit}
	g, err := tree.New("web-1", platform.Size{CPUCores: 0.25, MemoryBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cpu.max": "25000 100000", "memory.max": "67108864"} {
		if got := f.read("v2/unit/" + g.name + "/" + name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestVersion1NeedsBothControllers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mount("cpu", "cgroup", "rw,cpu,cpuacct")
	f.mount("memory", "cgroup", "rw,memory")
	f.write("cgroup", "2:memory:/m\n1:cpu,cpuacct:/c\n")
	f.write("cpu/c/tasks", "")
	f.write("memory/m/tasks", "")
	group := fmt.Sprintf("foreshadow-%d-x/", os.Getpid())
	f.write("memory/m/"+group+"memory.memsw.limit_in_bytes", "")
	tree := &Tree{cpu: filepath.Join(f.root, "cpu/c"), memory: filepath.Join(f.root, "memory/m")}
	if _, err := tree.New("x", platform.Size{CPUCores: 0.001, MemoryBytes: 4096}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cpu/c/" + group + "cpu.cfs_quota_us": "1000", "cpu/c/" + group + "cpu.cfs_period_us": "100000",
		"memory/m/" + group + "memory.limit_in_bytes": "4096", "memory/m/" + group + "memory.memsw.limit_in_bytes": "4096",
	} {
		if got := f.read(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestWhereThereAreNoneTheReasonIsSaid(t *testing.T) {
	t.Parallel()
	none := newFake(t)
	none.write("mountinfo", "")
	none.write("cgroup", "0::/\n")
	foreign := unified(t, "cpu memory")
	for what, c := range map[string]struct {
		f     *fake
		given bool
		says  string
	}{
		"nothing is mounted": {none, true, "no control groups can be made"},
		"not delegated":      {foreign, false, "in " + filepath.Join(foreign.root, "v2/unit/agent")},
		"no memory":          {unified(t, "cpu pids"), true, "the controller memory is not delegated"},
		"no files":           {newFake(t), true, "no such file"},
	} {
		tree, err := find(c.f.mountinfo, c.f.own, func(string) bool { return c.given })
		if tree != nil || !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", what, tree, err)
		}
	}
	if text := foreign.read("v2/unit/cgroup.subtree_control"); text != "" {
		t.Errorf("wrote %q to what was not given", text)
	}
}
