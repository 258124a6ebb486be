//go:build linux

package reference

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stove is one worker that uses CPU, on a thread of its own that goes from one request to the next without giving its core away.
type stove struct {
	core int // that it works on, or -1
	jobs chan job
	quit chan struct{}
	done sync.WaitGroup
}

// job is CPU time to be used, and who waits for it.
type job struct {
	need time.Duration
	came time.Time
	took chan time.Duration
}

// maxJobs wait in line; more are held up before it.
const maxJobs = 4096

func newStove(core int) *stove {
	s := &stove{core: core, jobs: make(chan job, maxJobs), quit: make(chan struct{})}
	s.done.Go(s.run)
	return s
}

// close waits for what is under way; who waits in line is sent away.
func (s *stove) close() {
	close(s.quit)
	s.done.Wait()
}

// burn waits for its turn, and returns for how long it then had the worker: longer than the need where the machine gave the core
// to somebody else, or took time to begin. It is false once the stove is closed.
func (s *stove) burn(need time.Duration) (took time.Duration, ok bool) {
	j := job{need: need, came: time.Now(), took: make(chan time.Duration, 1)}
	select {
	case s.jobs <- j:
	case <-s.quit:
		return 0, false
	}
	select {
	case took = <-j.took:
		return took, true
	case <-s.quit:
		return 0, false
	}
}

func (s *stove) run() {
	runtime.LockOSThread() // and the thread ends with it, wherever it was put
	if s.core >= 0 {
		_ = unix.SchedSetaffinity(0, only(s.core)) // where it is not allowed the kernel chooses
	}
	var free time.Time
	for {
		var j job
		select {
		case <-s.quit:
			return
		case j = <-s.jobs:
		}
		for begin := threadTime(); threadTime()-begin < j.need; {
			work()
		}
		began := j.came
		if free.After(began) {
			began = free
		}
		free = time.Now()
		j.took <- free.Sub(began)
	}
}

// work is some microseconds of arithmetic, so that it is the program that uses the CPU and not the kernel's clock.
func work() {
	x := uint64(1)
	for range 4000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 { // never, and the compiler cannot know
		panic("xorshift reached zero")
	}
}

func only(cores ...int) *unix.CPUSet {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	return &set
}

// Part parts the cores that this process may use: the last is for the work of a server that uses CPU, the others for all else, of the
// server and of who measures it. On one core nothing is parted, and work is -1.
func Part() (work int, others []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() < 2 {
		return -1, nil
	}
	for c := 0; len(others) < set.Count(); c++ {
		if set.IsSet(c) {
			others = append(others, c)
		}
	}
	last := len(others) - 1
	return others[last], others[:last]
}

// Confine keeps all threads that this process has now, and those they start, to the given cores.
func Confine(cores []int) error {
	set := only(cores...)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("thread %q: %w", t.Name(), err)
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended
			return fmt.Errorf("confine thread %d: %w", id, err)
		}
	}
	return nil
}

func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // the clock is there on every Linux
	return time.Duration(t.Nano())
}
