//go:build unix

package replicator

import "syscall"

// descriptors is how many files and sockets the process may have open; 0 when that is not known. The runtime has raised it as far
// as the process may.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on some systems
}
