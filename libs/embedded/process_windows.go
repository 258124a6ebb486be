package embedded

import "syscall"

func procAttr(account) *syscall.SysProcAttr { return nil }

// isPostgres takes every server that is said to run for one that does: nothing tells cheaply.
func isPostgres(int, string) bool { return true }
