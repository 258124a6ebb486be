// Package cgroup bounds the CPU and memory of processes by the kernel's control groups, of either version, where this process
// may make some:
//
//	v2  in its own group, or the one above it, when cpu and memory are delegated to that and no process lives in it: for a
//	    unit of systemd Delegate=yes and DelegateSubgroup=agent
//	v1  in its own groups of the controllers cpu and memory, when it may write there: as root
//
// A process is in its group before its first instruction. What a process that was killed has left is removed by the next Find.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// prefix of the groups that are made here; the number of the process that made them follows.
	prefix = "foreshadow-"
	// period in microseconds, the kernel's own default, after which a process may use its share of CPU again, and the least
	// share that the kernel takes.
	period, leastQuota = 100_000, 1_000
	// removeWithin bounds how long a group is given to be empty: the end of a process takes the kernel a moment.
	removeWithin = 2 * time.Second
	removeEvery  = 10 * time.Millisecond
)

// ErrNone says that no groups can be made, and why.
var ErrNone = errors.New("no control groups can be made")

// Tree is where groups are made.
type Tree struct {
	// unified is the directory of version 2; cpu and memory are those of version 1.
	unified, cpu, memory string
}

// String names the directories.
func (t *Tree) String() string {
	return strings.Join(slices.DeleteFunc([]string{t.unified, t.cpu, t.memory}, func(s string) bool { return s == "" }), ", ")
}

// Find returns the tree of this process, having made a group there and removed it. The error is an ErrNone.
func Find() (*Tree, error) { return find("/proc/self/mountinfo", "/proc/self/cgroup", given) }

// find reads the two files; given says whether a directory above one's own group was given away to whoever lives below it.
func find(mountinfo, own string, given func(dir string) bool) (*Tree, error) {
	mounts, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	groups, err := os.ReadFile(own)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	errs := []error{ErrNone}
	for _, t := range candidates(parseMounts(string(mounts)), parseGroups(string(groups)), given) {
		if err := t.try(); err != nil {
			errs = append(errs, fmt.Errorf("in %s: %w", t, err))
			continue
		}
		return t, nil
	}
	return nil, errors.Join(errs...)
}

// candidates are the trees that there may be, those of version 2 first.
func candidates(mounts, groups map[string]string, given func(dir string) bool) []*Tree {
	var out []*Tree
	if root, mounted := mounts[""]; mounted {
		own := filepath.Join(root, groups[""])
		out = append(out, &Tree{unified: own})
		if own != filepath.Clean(root) && given(filepath.Dir(own)) {
			out = append(out, &Tree{unified: filepath.Dir(own)})
		}
	}
	cpu, memory := mounts["cpu"], mounts["memory"]
	if cpu != "" && memory != "" {
		out = append(out, &Tree{cpu: filepath.Join(cpu, groups["cpu"]), memory: filepath.Join(memory, groups["memory"])})
	}
	return out
}

// try makes a group with bounds and removes it.
func (t *Tree) try() error {
	if t.unified != "" {
		if err := t.delegated(); err != nil {
			return err
		}
	}
	t.sweep()
	g, err := t.New("probe", platform.Size{CPUCores: 1, MemoryBytes: 1 << 30})
	if err != nil {
		return err
	}
	return g.Remove()
}

// delegated has the controllers passed on to the groups that are made.
func (t *Tree) delegated() error {
	have, err := os.ReadFile(filepath.Join(t.unified, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(t.unified, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, controller := range []string{"cpu", "memory"} {
		if !slices.Contains(strings.Fields(string(have)), controller) {
			return fmt.Errorf("the controller %s is not delegated to it", controller)
		}
		if slices.Contains(strings.Fields(string(on)), controller) {
			continue
		}
		err := set(t.unified, "cgroup.subtree_control", "+"+controller)
		if errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("processes live in it, so that %s is not passed on", controller)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what processes that are no more have left; a group with processes in it stays.
func (t *Tree) sweep() {
	for _, dir := range t.dirs() {
		left, _ := filepath.Glob(filepath.Join(dir, prefix+"*")) // the pattern is a good one
		for _, group := range left {
			number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(group), prefix), "-")
			if pid, err := strconv.Atoi(number); err == nil && gone(pid) {
				_ = os.Remove(group)
			}
		}
	}
}

// dirs are the directories of the controllers, each once.
func (t *Tree) dirs() []string {
	if t.unified != "" {
		return []string{t.unified}
	}
	if t.cpu == t.memory {
		return []string{t.cpu}
	}
	return []string{t.cpu, t.memory}
}

// Group bounds the processes in it.
type Group struct {
	tree *Tree
	name string
}

// New makes a group for processes that together are given size; what is 0 is not bounded.
func (t *Tree) New(name string, size platform.Size) (*Group, error) {
	g := &Group{tree: t, name: fmt.Sprintf("%s%d-%s", prefix, os.Getpid(), name)}
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(fmt.Errorf("make control group: %w", err), g.Remove())
		}
	}
	if err := g.bound(size); err != nil {
		return nil, errors.Join(fmt.Errorf("bound control group %s: %w", g.name, err), g.Remove())
	}
	return g, nil
}

func (g *Group) dirs() []string {
	dirs := g.tree.dirs()
	for i := range dirs {
		dirs[i] = filepath.Join(dirs[i], g.name)
	}
	return dirs
}

// bound writes the size. Swap is not to be a way around a bound of memory; where there is none it cannot be bounded.
func (g *Group) bound(size platform.Size) error {
	var errs []error
	quota := strconv.Itoa(max(leastQuota, int(math.Round(size.CPUCores*period))))
	bytes := strconv.FormatInt(size.MemoryBytes, 10)
	dirs := g.dirs()
	cpu, memory := dirs[0], dirs[len(dirs)-1]
	v2 := g.tree.unified != ""
	if size.CPUCores > 0 && v2 {
		errs = append(errs, set(cpu, "cpu.max", fmt.Sprintf("%s %d", quota, period)))
	} else if size.CPUCores > 0 {
		errs = append(errs, set(cpu, "cpu.cfs_period_us", strconv.Itoa(period)), set(cpu, "cpu.cfs_quota_us", quota))
	}
	if size.MemoryBytes > 0 && v2 {
		errs = append(errs, setIfThere(memory, "memory.swap.max", "0"), set(memory, "memory.max", bytes))
	} else if size.MemoryBytes > 0 {
		errs = append(errs, set(memory, "memory.limit_in_bytes", bytes), setIfThere(memory, "memory.memsw.limit_in_bytes", bytes))
	}
	return errors.Join(errs...)
}

func set(dir, name, value string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600)
}

func setIfThere(dir, name, value string) error {
	if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return set(dir, name, value)
}

// Remove removes the group once its processes have ended, and gives up when they do not.
func (g *Group) Remove() error {
	var errs []error
	for _, dir := range g.dirs() {
		err := os.Remove(dir)
		for end := time.Now().Add(removeWithin); errors.Is(err, syscall.EBUSY) && time.Now().Before(end); err = os.Remove(dir) {
			time.Sleep(removeEvery)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove control group: %w", err))
		}
	}
	return errors.Join(errs...)
}
