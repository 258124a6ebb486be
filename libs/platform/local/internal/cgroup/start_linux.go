package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Start starts a command in the group. The caller has locked its goroutine to its thread, and does not unlock it when Start
// returns an error: the thread may then be in the group itself.
func (g *Group) Start(cmd *exec.Cmd) error {
	if g.tree.unified != "" {
		return g.startUnified(cmd)
	}
	// Version 1 knows no way to start a process in a group but to be there: this one thread is, for as long as it takes.
	thread := strconv.Itoa(syscall.Gettid())
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, set(dir, "tasks", thread))
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, cmd.Start())
	}
	for _, dir := range g.tree.dirs() {
		errs = append(errs, set(dir, "tasks", thread))
	}
	if err := errors.Join(errs...); err != nil {
		if cmd.Process != nil { // it must not run unknown to the caller
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return fmt.Errorf("start in control group %s: %w", g.name, err)
	}
	return nil
}

func (g *Group) startUnified(cmd *exec.Cmd) error {
	dir, err := os.Open(filepath.Join(g.tree.unified, g.name))
	if err != nil {
		return fmt.Errorf("open control group: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in control group %s: %w", g.name, err)
	}
	return nil
}

// given says whether systemd has delegated a group, which it marks; what it has not, it may change at any time. Without systemd
// nobody else makes groups.
func given(dir string) bool {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	value := make([]byte, 1)
	for _, mark := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := syscall.Getxattr(dir, mark, value); err == nil && n == 1 && value[0] == '1' {
			return true
		}
	}
	return false
}

// gone says whether a process is no more.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
