package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout  = 15 * time.Second
	restartFirst = 100 * time.Millisecond
	restartMax   = 2 * time.Second
	steady       = 5 * time.Second // a child that ran this long is restarted without delay
	hastyLimit   = 4
)

// child is one supervised process.
type child struct {
	name  string
	args  []string
	admin string // address of its admin listener
	env   []string
	log   *slog.Logger
	dir   string

	mu       sync.Mutex
	process  *os.Process
	hasty    int // times in a row that it ended as soon as it was started
	stopping bool
	done     chan struct{} // closed when supervision has ended
}

// supervise starts the child and keeps it running until stop is called.
func (c *child) supervise(binary string) error {
	out, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", c.name, err)
	}
	c.done = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer close(c.done)
		defer func() { _ = out.Close() }()
		wait := restartFirst
		for first := true; ; first = false {
			began := time.Now()
			cmd, release, err := c.start(binary, out)
			if first {
				started <- err
			}
			if cmd == nil && err == nil || err != nil && first {
				return
			}
			if err == nil {
				err = cmd.Wait()
				release()
			}
			if c.ended(time.Since(began)) {
				return
			}
			c.log.Warn("child ended, starting it again", "child", c.name, "err", err, "reason", c.lastWords())
			if time.Since(began) > steady {
				wait = restartFirst
			}
			time.Sleep(wait)
			wait = min(2*wait, restartMax)
		}
	}()
	return <-started
}

// start runs the process once; it returns nil, nil when the child has been told to stop.
func (c *child) start(binary string, out io.Writer) (*exec.Cmd, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, nil, nil
	}
	cmd := exec.Command(binary, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = out, out
	release, err := startBound(cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	c.process = cmd.Process
	return cmd, release, nil
}

// ended notes how long the process ran, and says whether that was the last time.
func (c *child) ended(ran time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process = nil
	if c.hasty++; ran > steady {
		c.hasty = 0
	}
	return c.stopping
}

// hopeless returns why a child cannot be started, once it has tried several times in a row.
func (c *child) hopeless() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasty < hastyLimit {
		return nil
	}
	return fmt.Errorf("start %s: it ends at once: %s", c.name, c.lastWords())
}

// lastWords are the last line of its log, which says why it ended when it did so by itself.
func (c *child) lastWords() string { return c.lastLine("") }

// lastLine is the newest line near the end of its log that says what; empty when none does.
func (c *child) lastLine(what string) string {
	const most = 4096
	f, err := os.Open(c.logFile())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	tail, err := io.ReadAll(io.NewSectionReader(f, max(0, size-most), most))
	if err != nil {
		return err.Error()
	}
	for _, line := range slices.Backward(strings.Split(strings.TrimSpace(string(tail)), "\n")) {
		if strings.Contains(line, what) {
			return strings.TrimPrefix(line, "foreshadow: ")
		}
	}
	return ""
}

func (c *child) logFile() string { return filepath.Join(c.dir, c.name+".log") }

// signal sends a signal to the running process.
func (c *child) signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return fmt.Errorf("signal %s: it is not running", c.name)
	}
	return c.process.Signal(sig)
}

// pid is that of the running process; 0 when none runs.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

// stop asks the process to end, and kills it when it does not.
func (c *child) stop() {
	c.mu.Lock()
	c.stopping = true
	process := c.process
	c.mu.Unlock()
	if c.done == nil {
		return
	}
	if process != nil {
		_ = process.Signal(syscall.SIGTERM)
	}
	select {
	case <-c.done:
		return
	case <-time.After(stopTimeout):
		c.log.Warn("child did not end in time, killing it", "child", c.name)
		_ = c.signal(syscall.SIGKILL)
		<-c.done
	}
}

// awaitReady polls /readyz until it answers 200.
func (c *child) awaitReady(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	last := errors.New("not asked yet")
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (its log: %s)", c.name, last, c.logFile())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
