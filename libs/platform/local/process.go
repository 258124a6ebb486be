package local

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/local/internal/cgroup"
)

// process is a child that dies with this process.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; valid after done
}

// outputDelay is how long after the end of a process its output may stay open, held by a child of its own.
const outputDelay = time.Second

// startProcess starts a command on an operating system thread of its own: the kernel sends the parent-death signal when
// the THREAD that forked ends, and Go ends threads as it likes, so the thread stays locked while the child lives. bounds may
// be nil.
func startProcess(cmd *exec.Cmd, bounds *cgroup.Group) (*process, error) {
	cmd.SysProcAttr = procAttr()
	cmd.WaitDelay = outputDelay
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		start := cmd.Start
		if bounds != nil {
			start = func() error { return bounds.Start(cmd) }
		}
		if err := start(); err != nil {
			started <- err
			return // locked, so that the thread ends: it may be in the group
		}
		defer runtime.UnlockOSThread()
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		// What it left behind in its group has no owner any more. Best effort: mostly there is nothing.
		signalGroup(p.pid, syscall.SIGKILL)
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	return p, nil
}

// signal reaches the whole process group, so that a wrapper script need not pass it on.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.done: // the number may belong to somebody else by now
	default:
		signalGroup(p.pid, s) // an error means that it has just ended, and done will say so
	}
}

// stop asks the process to end and kills it when it has not within the given time. It returns once the process is gone.
func (p *process) stop(within time.Duration) (killed bool) {
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.done:
		return false
	case <-t.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.done
	return true
}
