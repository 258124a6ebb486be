//go:build unix && !linux

package local

import "syscall"

// procAttr puts a child into its own process group. Only Linux can make it die with its parent: elsewhere the instances
// of an agent that was killed stay until they are stopped by hand.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
