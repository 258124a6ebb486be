package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/platform/local/internal/cgroup"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// idLength is the length of the random part of an identity: 40 bits, so that it is unique over restarts too.
const idLength = 8

// instance is one copy of the service. Its fields but the first ones are guarded by the group's mu.
type instance struct {
	group     *group
	id        string
	startTime time.Time
	drained   chan struct{} // closed when it is told to end

	address   string
	phase     platform.Phase
	readyTime time.Time
	process   *process // nil before the start and when the start failed
	gone      bool     // the process has ended, or never began
	replaced  bool     // Failed, and its replacement was started or is not wanted any more
	failures  int      // early failures in a row, those of the instances it replaces included
	retryTime time.Time
}

func (i *instance) view() platform.Instance {
	return platform.Instance{
		ID: i.id, Address: i.address, Phase: i.phase, Version: i.group.spec.Version, StartTime: i.startTime, ReadyTime: i.readyTime,
		Size: i.group.size,
	}
}

// live runs the instance from its start to the end of its process.
func (i *instance) live(ctx context.Context) {
	g := i.group
	defer i.set(func() { i.gone = true })
	if err := pruneOutputs(g.agent.cfg.LogDir, g.name, g.running()); err != nil {
		g.log.Warn("old output stays", "err", err)
	}
	port, err := g.agent.ports.take()
	if err != nil {
		i.fail(err.Error())
		return
	}
	defer g.agent.ports.release(port)
	out, err := newOutput(g.agent.cfg.LogDir, i.id)
	if err != nil {
		i.fail(err.Error())
		return
	}
	defer out.close()
	bounds, err := i.bounds()
	if err != nil {
		i.fail(err.Error())
		return
	}
	defer i.unbind(bounds)
	p, err := startProcess(i.command(ctx, port, out), bounds)
	if err != nil {
		i.fail(err.Error())
		return
	}
	i.set(func() { i.process, i.address = p, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) })
	if reason := i.serve(ctx, p); reason != "" {
		if line := out.lastLine(); line != "" {
			reason += ": " + line
		}
		i.fail(reason)
	} else if ctx.Err() == nil {
		select {
		case <-time.After(g.agent.timing.drainGrace):
		case <-ctx.Done():
		}
	}
	within := g.spec.Process.DrainTimeout
	if ctx.Err() != nil {
		within = min(within, g.agent.timing.stopWithin)
	}
	if p.stop(within) {
		g.log.Warn("instance killed", "instance", i.id, "reason", "did not end in time", "duration_ms", within.Milliseconds())
	}
}

// bounds makes the control group of the instance; nil when nothing is to be bounded.
func (i *instance) bounds() (*cgroup.Group, error) {
	if i.group.size == (platform.Size{}) {
		return nil, nil
	}
	return i.group.agent.tree.New(i.id, i.group.size)
}

// unbind removes the control group of an instance that has ended.
func (i *instance) unbind(bounds *cgroup.Group) {
	if bounds == nil {
		return
	}
	if err := bounds.Remove(); err != nil {
		i.group.log.Warn("control group stays", "instance", i.id, "err", err)
	}
}

func (i *instance) set(change func()) {
	i.group.mu.Lock()
	defer i.group.mu.Unlock()
	change()
	i.group.change()
}

// command is how the process is run. The agent's own settings, passwords among them, are not handed down.
func (i *instance) command(ctx context.Context, port int, out io.Writer) *exec.Cmd {
	spec := i.group.spec.Process
	// The end of ctx must not kill it: it is told to end in order.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), spec.Command[0], spec.Command[1:]...) // #nosec G204: what the user declared
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FORESHADOW_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	for name, value := range spec.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, "PORT="+strconv.Itoa(port), "FORESHADOW_INSTANCE="+i.id)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// serve makes the instance ready and watches it until it is told to drain, when it returns "", or fails, when it returns why.
func (i *instance) serve(ctx context.Context, p *process) (reason string) {
	g, t := i.group, i.group.agent.timing
	deadline := time.NewTimer(g.spec.Process.StartTimeout)
	defer deadline.Stop()
	next := time.NewTimer(t.pollFirst)
	defer next.Stop()
	pause, ready, vigil := t.pollFirst, false, agent.Vigil{}
	var answer error
	for {
		select {
		case <-i.drained:
			return ""
		case <-p.done:
			return "ended by itself, " + ending(p.err)
		case <-deadline.C:
			if !ready {
				return unready(g.spec.Process, answer)
			}
			continue
		case <-next.C:
		}
		answer = i.check(ctx, p)
		switch {
		case answer == nil:
			vigil.Well(time.Now())
			if !ready {
				ready, pause = true, t.checkEvery
				i.becomeReady()
			}
		case ready:
			if reason := vigil.Missed(answer, time.Now(), t.patience); reason != "" {
				return reason
			}
		default:
			pause = min(pause*5/4, t.pollMax)
		}
		next.Reset(pause)
	}
}

// unready says what was waited for, and what came of it last.
func unready(p workload.Process, answer error) string {
	var asked *url.Error
	if errors.As(answer, &asked) {
		answer = asked.Err
	}
	return fmt.Sprintf("not ready within %s: GET %s on $PORT: %v", p.StartTimeout, p.ReadyPath, answer)
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// check asks for the ready path once; it is cut short when the process ends or is told to.
func (i *instance) check(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, i.group.agent.timing.checkTimeout)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.done:
		case <-i.drained:
		case <-stop:
		}
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.address+i.group.spec.Process.ReadyPath, nil)
	if err != nil {
		return fmt.Errorf("make check: %w", err)
	}
	resp, err := i.group.agent.probe.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}

func (i *instance) becomeReady() {
	now := time.Now()
	i.set(func() {
		if i.phase != platform.Starting {
			return // told to drain meanwhile
		}
		i.phase, i.readyTime = platform.Ready, now
	})
	i.group.log.Info("instance ready", "instance", i.id, "duration_ms", now.Sub(i.startTime).Milliseconds())
}

// fail marks the instance as to be replaced: at once when it had served for long, else after a delay that doubles with
// each failure in a row, so that a broken service does not keep the machine busy.
func (i *instance) fail(reason string) {
	now, t := time.Now(), i.group.agent.timing
	failed := false
	i.set(func() {
		if i.phase != platform.Starting && i.phase != platform.Ready {
			return // it was told to end, and has
		}
		failed, i.phase = true, platform.Failed
		if !i.readyTime.IsZero() && now.Sub(i.readyTime) >= t.goodLife {
			i.failures, i.retryTime = 0, now
			return
		}
		i.retryTime = now.Add(min(t.retryFirst<<min(i.failures, 20), t.retryMax))
		i.failures++
	})
	if failed {
		i.group.agent.metrics.Failed(i.group.name)
		i.group.log.Warn("instance failed", "instance", i.id, "reason", reason)
	}
}
