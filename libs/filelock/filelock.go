// Package filelock keeps a file to one process at a time. The kernel takes the lock away from a process that ends, however it
// does, and when the file is closed.
package filelock

import "errors"

// ErrTaken says that another process, or another open file of this one, holds the lock.
var ErrTaken = errors.New("it is locked by another process")
