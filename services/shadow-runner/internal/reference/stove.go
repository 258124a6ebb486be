//go:build linux

package reference

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Stove is one worker that uses CPU. It is a process of its own: in the server's a goroutine that burns without a pause keeps
// the runtime from looking for requests that came, and the queue then is not where the law has it.
type Stove struct {
	command *exec.Cmd
	needs   io.WriteCloser
	ends    io.Reader
	done    chan struct{} // closed when it has gone out

	mu      sync.Mutex // needs and waiting are in one order
	waiting chan job
}

// job is who waits for CPU time to be used.
type job struct {
	came time.Time
	took chan time.Duration
}

// maxJobs wait in line; more are held up before it. The pipe to the process has room for them all.
const maxJobs = 4096

// Light starts a stove by a command that calls Cook.
func Light(command *exec.Cmd) (*Stove, error) {
	needs, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("light stove: %w", err)
	}
	ends, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("light stove: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("light stove: %w", err)
	}
	s := &Stove{command: command, needs: needs, ends: ends, done: make(chan struct{}), waiting: make(chan job, maxJobs)}
	go s.run()
	return s, nil
}

// PID is that of the process that uses the CPU.
func (s *Stove) PID() int { return s.command.Process.Pid }

// Close puts it out; who waits in line is sent away.
func (s *Stove) Close() {
	_ = s.needs.Close()
	<-s.done
}

// burn waits for its turn, and returns for how long it then had the worker: longer than the need where the machine gave the core
// to somebody else, or took time to begin. It is false once the stove is out.
func (s *Stove) burn(need time.Duration) (took time.Duration, ok bool) {
	j := job{came: time.Now(), took: make(chan time.Duration, 1)}
	if !s.enter(j, need) {
		return 0, false
	}
	select {
	case took = <-j.took:
		return took, true
	case <-s.done:
		return 0, false
	}
}

func (s *Stove) enter(j job, need time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.waiting <- j:
	case <-s.done:
		return false
	}
	return binary.Write(s.needs, binary.LittleEndian, int64(need)) == nil
}

// run tells those who wait when their work was done.
func (s *Stove) run() {
	defer close(s.done)
	var free time.Time
	for {
		var end int64
		if binary.Read(s.ends, binary.LittleEndian, &end) != nil {
			_ = s.command.Wait() // it was asked to end, or killed
			return
		}
		j := <-s.waiting
		began := j.came
		if free.After(began) {
			began = free
		}
		free = time.Unix(0, end)
		j.took <- free.Sub(began)
	}
}

// Cook is the process of a stove: it uses as much CPU as each number that it reads says, in nanoseconds, and writes when it has.
// It works on the given core, or on any where that is -1, and goes from one to the next without giving it away.
func Cook(core int) error {
	runtime.LockOSThread()
	if core >= 0 {
		_ = unix.SchedSetaffinity(0, only(core)) // where it is not allowed the kernel chooses
	}
	for buffer := make([]byte, 8); ; {
		// Neither through the runtime's poller: this thread reads, works and writes.
		n, err := unix.Read(int(os.Stdin.Fd()), buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read what to burn: %w", err)
		case n < len(buffer):
			return nil // whoever asked has gone
		}
		need := time.Duration(binary.LittleEndian.Uint64(buffer)) // #nosec G115: it was written from one
		for begin := threadTime(); threadTime()-begin < need; {
			work()
		}
		binary.LittleEndian.PutUint64(buffer, uint64(time.Now().UnixNano())) // #nosec G115: it is after 1970
		if _, err := unix.Write(int(os.Stdout.Fd()), buffer); err != nil {
			return fmt.Errorf("write when it was burnt: %w", err)
		}
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
