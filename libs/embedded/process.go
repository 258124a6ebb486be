package embedded

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child that ends with its parent.
type process struct {
	cmd  *exec.Cmd
	log  *tailBuffer
	done chan struct{} // closed when it has ended
	err  error         // valid after done
}

// startProcess starts name on an operating system thread of its own. The kernel sends the parent-death signal when
// the THREAD that forked ends, and Go ends threads as it likes: so the thread stays locked for as long as the
// child lives.
func startProcess(acc account, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), log: &tailBuffer{}, done: make(chan struct{})}
	p.cmd.SysProcAttr = procAttr(acc)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Dir = "/" // the caller's directory may be one that acc cannot enter
	// Backends that outlive a killed postmaster for a moment hold the log's pipe.
	p.cmd.WaitDelay = 2 * time.Second
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop sends each signal in turn until the process has ended, waiting for grace or the end of ctx in between.
func (p *process) stop(ctx context.Context, grace time.Duration, signals ...syscall.Signal) error {
	for _, sig := range signals {
		select {
		case <-p.done:
			return nil
		default:
		}
		// An error means that it has just ended, and done will say so.
		_ = p.cmd.Process.Signal(sig)
		timer := time.NewTimer(grace)
		select {
		case <-p.done:
			timer.Stop()
			return nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return errors.New("process does not end")
	}
}

// tailBuffer keeps the last bytes written, which is where a server says why it stopped.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
}

const tailBytes = 4 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if over := len(b.data) - tailBytes; over > 0 {
		b.data = append(b.data[:0], b.data[over:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.data))
}
