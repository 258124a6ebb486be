package stack

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startBound starts a process that the kernel kills when this one ends. The kernel watches the THREAD that forked, so that
// thread is kept until release is called; a group of its own keeps a Ctrl-C at the terminal from stopping all at once.
func startBound(cmd *exec.Cmd) (release func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	held := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		<-held
	}()
	if err := <-started; err != nil {
		close(held)
		return nil, err
	}
	return func() { close(held) }, nil
}
