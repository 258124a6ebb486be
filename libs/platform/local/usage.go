package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Usage implements agent.Group: it reads what the processes of the group have used, from /proc; only the instance's own process counts, not children
// it may have.
//
// CPU is exact to the kernel's tick of 10 ms; memory is the resident set, pages shared with other instances included.
// Linux has no traffic counter per process, so the bytes are those of its read and write calls (rchar and wchar). For a
// process that mostly serves HTTP they are its traffic: payload and HTTP headers, without TCP and IP headers. They also
// hold files it reads and logs it writes, and they lack what it moves by recv and send: Go, Java and Node use read and
// write on sockets.
func (g *group) Usage(context.Context) ([]platform.Usage, error) {
	now := time.Now()
	type running struct {
		process *process
		usage   platform.Usage
	}
	g.mu.Lock()
	var all []running
	for _, i := range g.instances {
		if i.process != nil && !i.gone {
			all = append(all, running{i.process, platform.Usage{Instance: i.id, Ready: i.phase == platform.Ready}})
		}
	}
	g.mu.Unlock()
	usages := make([]platform.Usage, 0, len(all))
	for _, r := range all {
		u, err := measure(g.agent.proc, r.process, r.usage)
		if errors.Is(err, errEnded) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("measure instance %s: %w", u.Instance, err)
		}
		u.Time = now
		usages = append(usages, u)
	}
	return usages, nil
}

var errEnded = errors.New("the process has ended")

func measure(proc procfs.FS, p *process, u platform.Usage) (platform.Usage, error) {
	handle, err := proc.Proc(p.pid)
	var stat procfs.ProcStat
	var io procfs.ProcIO
	if err == nil {
		stat, err = handle.Stat()
	}
	if err == nil {
		io, err = handle.IO()
	}
	select {
	case <-p.done: // what was read may be of another process with the same number
		return u, errEnded
	default:
	}
	// A process that has ended and was not waited for yet has no open files and no io any more.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrPermission) && stat.State == "Z" {
		return u, errEnded
	}
	if err != nil {
		return u, err
	}
	u.CPUSeconds, u.MemoryBytes = stat.CPUTime(), uint64(max(0, stat.ResidentMemory()))
	u.ReceivedBytes, u.TransmittedBytes = io.RChar, io.WChar
	return u, nil
}
