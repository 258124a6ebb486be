//go:build unix

package local

import "syscall"

// signalGroup reaches a process and all it started.
func signalGroup(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) }
