package pace

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap may end early at a signal; the caller looks at the clock again.
func nap(d time.Duration) {
	spec := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&spec, nil) // EINTR is the only error a valid span can give
}
