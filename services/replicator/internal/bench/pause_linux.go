package main

import (
	"syscall"
	"time"
)

// pause sleeps in the kernel: the runtime's own timers end together, once a millisecond, and would make bursts of a steady rate.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	left := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&left, nil) // waking early sends early
}
