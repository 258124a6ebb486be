package local

import "syscall"

// procAttr makes a child die with the thread that started it. Its own process group keeps a Ctrl-C at the terminal away
// from it: the agent stops it in order.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
