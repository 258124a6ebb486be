//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Try locks an open file, or a directory, without waiting. The error is ErrTaken when it is locked already.
func Try(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // #nosec G115: a descriptor
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrTaken
	}
	return err
}

// Release gives a lock up and closes its file. To close it is not enough: a process that is just being started holds a copy of
// every open file until its program runs, and the lock with it.
func Release(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close()) // #nosec G115: a descriptor
}
