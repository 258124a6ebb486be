package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// part is a process.
type part struct {
	name    string
	address string
	cmd     *exec.Cmd
	out     *bufio.Reader
}

// pids are the process's, and its workers'.
func (p *part) pids() []string {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	return append(strings.Fields(string(children)), pid)
}

// spawn starts this program as a part and waits for its address.
func spawn(name string, args ...string) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &part{name: name, cmd: cmd, out: bufio.NewReader(pipe)}
	line, err := p.out.ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		return nil, fmt.Errorf("%s did not start: %w", name, err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// end stops a part and returns the ledgers that it prints.
func (p *part) end() []metric.Ledger {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	var ledgers []metric.Ledger
	if p.out != nil {
		_ = json.NewDecoder(p.out).Decode(&ledgers)
	}
	_ = p.cmd.Wait()
	return ledgers
}

// freeze stops a part in its tracks; end lets it go on.
func (p *part) freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("make %s hang: %w", p.name, err)
	}
	return nil
}

// cpu is the time that the part's threads have run, to the nanosecond.
func (p *part) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range p.pids() {
		tasks, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, t := range tasks {
			data, _ := os.ReadFile(t)
			first, _, _ := bytes.Cut(data, []byte{' '})
			n, _ := strconv.ParseInt(string(first), 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// settle waits until the part has nothing more to do: what is in the kernel's ring comes within 50 ms, unless it lags.
func (p *part) settle() {
	for range 50 {
		before := p.cpu()
		time.Sleep(200 * time.Millisecond)
		if p.cpu()-before < 4*time.Millisecond {
			return
		}
	}
}

// stage is the parts of a comparison.
type stage struct {
	parts []*part
	dirs  []string
}

func (s *stage) add(p *part, err error) (*part, error) {
	if err == nil {
		s.parts = append(s.parts, p)
	}
	return p, err
}

func (s *stage) stop() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.parts[i].end()
	}
	s.parts = nil
	for _, dir := range s.dirs {
		_ = os.RemoveAll(dir)
	}
	s.dirs = nil
}
