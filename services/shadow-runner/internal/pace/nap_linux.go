package pace

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A nap is a read of a timer of the kernel's (timerfd) through the runtime's poller: it wakes up within some ten microseconds
// and, other than a sleep in the kernel, leaves the thread and the processor of the runtime to others meanwhile.
var naps = sync.Pool{New: func() any {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return (*napper)(nil)
	}
	n := &napper{fd: fd, file: os.NewFile(uintptr(fd), "timer")}
	runtime.AddCleanup(n, func(f *os.File) { _ = f.Close() }, n.file)
	return n
}}

// napper is one timer, for one goroutine at a time.
type napper struct {
	fd     int
	file   *os.File
	expiry [8]byte
}

func (n *napper) nap(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(n.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if _, err := n.file.Read(n.expiry[:]); err != nil {
		return fmt.Errorf("read timer: %w", err)
	}
	return nil
}

// nap may end early; the caller looks at the clock again.
func nap(d time.Duration) {
	if n, _ := naps.Get().(*napper); n != nil {
		if n.nap(d) == nil {
			naps.Put(n)
			return
		}
		// What is wrong with it is not known; the cleanup closes it.
	}
	time.Sleep(d) // out of files: late by a millisecond is better than not at all
}
