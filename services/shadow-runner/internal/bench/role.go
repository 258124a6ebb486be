//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

// play is a server. It prints its address, and ends when its input does: also when the bench was killed. One with a law then
// prints how it served.
func play(ctx context.Context, o options) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	if o.role == "null" {
		fmt.Println(ln.Addr())
		return null(ctx, ln)
	}
	for _, c := range reference.RealCases() {
		if c.Name == o.law {
			return law(ctx, ln, c.Real, o.first)
		}
	}
	return fmt.Errorf("no law %q", o.law)
}

// law serves by one, and one that burns does so in a process beside, which it prints the number of, too.
func law(ctx context.Context, ln net.Listener, r reference.Real, seed uint64) error {
	pid := 0
	if r.Burn {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		core, others := reference.Part()
		if r.Stove, err = reference.Light(exec.Command(self, "-role", "stove", "-core", strconv.Itoa(core))); err != nil { // #nosec G204: this program
			return err
		}
		defer r.Stove.Close()
		if pid = r.Stove.PID(); core >= 0 {
			if err := reference.Confine(others); err != nil {
				return err
			}
		}
	}
	fmt.Println(ln.Addr(), pid)
	served, err := reference.Serve(ctx, ln, r, seed)
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(served))
}

// null answers every request at once with as little work as can be, so that what is measured is the runner.
func null(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		go func() { // ends with the process
			r := bufio.NewReader(conn)
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
				}
			}
		}()
	}
}

// child is this program as a server.
type child struct {
	address string
	command *exec.Cmd
	burner  int // process that burns for it; 0 = none
	stop    func()
	said    []byte // after its address, once it was stopped
}

func start(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{command: exec.CommandContext(ctx, self, args...)}
	c.command.Stderr = os.Stderr
	input, err := c.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", args, err)
	}
	lines := bufio.NewReader(output)
	c.stop = sync.OnceFunc(func() {
		_ = input.Close()
		c.said, _ = io.ReadAll(lines) // what is missing is missed by whoever reads it
		_ = c.command.Wait()
	})
	line, err := lines.ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("start %v: no address: %w", args, err)
	}
	if _, err := fmt.Sscan(line, &c.address); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %v: address %q: %w", args, line, err)
	}
	_, _ = fmt.Sscan(line, &c.address, &c.burner) // only a server by a law has one
	return c, nil
}

// served ends the server, and is how it served.
func (c *child) served() (s reference.Served, err error) {
	c.stop()
	if err := json.Unmarshal(c.said, &s); err != nil {
		return s, fmt.Errorf("how the server served: %w", err)
	}
	return s, nil
}

// usage is what the server has used so far, and what burnt for it.
func (c *child) usage(context.Context) ([]platform.Usage, error) {
	u := platform.Usage{Instance: strconv.Itoa(c.command.Process.Pid), Time: time.Now()}
	for _, pid := range []int{c.command.Process.Pid, c.burner} {
		if pid == 0 {
			continue
		}
		p, err := procfs.NewProc(pid)
		if err != nil {
			return nil, err
		}
		s, err := p.Stat()
		if err != nil {
			return nil, err
		}
		u.CPUSeconds += s.CPUTime()
		u.MemoryBytes += uint64(max(0, s.ResidentMemory()))
	}
	return []platform.Usage{u}, nil
}
