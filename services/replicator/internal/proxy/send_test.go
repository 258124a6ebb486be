package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestWhoseFaultADialIs: only an instance that can not be reached is set aside, not one for which this process has no socket.
func TestWhoseFaultADialIs(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return fmt.Errorf("round trip: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", err)})
	}
	for name, c := range map[string]struct {
		err           error
		refused, ours bool
	}{
		"nobody listens":      {dial(syscall.ECONNREFUSED), true, false},
		"no route":            {dial(syscall.EHOSTUNREACH), true, false},
		"too slow":            {dial(os.ErrDeadlineExceeded), true, false},
		"out of files":        {dial(syscall.EMFILE), true, true},
		"out of files at all": {dial(syscall.ENFILE), true, true},
		"out of buffers":      {dial(syscall.ENOBUFS), true, true},
		"client went away":    {dial(context.Canceled), false, false},
		"broke later":         {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, false, false},
	} {
		if refused, ours := isRefused(c.err), isOurs(c.err); refused != c.refused || ours != c.ours {
			t.Errorf("%s: refused %v, ours %v", name, refused, ours)
		}
	}
}
