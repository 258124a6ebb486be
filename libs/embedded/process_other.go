//go:build unix && !linux

package embedded

import "syscall"

// procAttr makes the child run as acc. Only Linux can make it die with its parent: elsewhere a server whose parent
// was killed stays until it is stopped by hand, and the next start on its directory says so.
func procAttr(acc account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if acc.change {
		attr.Credential = &syscall.Credential{Uid: uint32(acc.uid), Gid: uint32(acc.gid)} // #nosec G115: ids from the system are in range
	}
	return attr
}

// isPostgres can only tell whether the process lives.
func isPostgres(pid int, _ string) bool { return syscall.Kill(pid, 0) == nil }
