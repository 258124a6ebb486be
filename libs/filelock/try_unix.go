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
