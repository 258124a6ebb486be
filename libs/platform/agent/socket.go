package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/foreshadow/foreshadow/libs/filelock"
	"github.com/foreshadow/foreshadow/libs/telemetry"
)

// maxSocketPath is what the kernel takes for the path of a unix socket.
const maxSocketPath = 107

// CheckSocket says what is wrong with the path of a socket.
func CheckSocket(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("socket: is missing")
	case len(path) > maxSocketPath:
		return fmt.Errorf("socket: the path of a unix socket has at most %d bytes, %q has %d", maxSocketPath, path, len(path))
	default:
		return nil
	}
}

// Listen opens the socket of an agent, for this user alone. The error says so when another agent serves it.
func Listen(ctx context.Context, socket string) (ln net.Listener, release func(), err error) {
	unlock, err := lock(socket)
	if err != nil {
		return nil, nil, err
	}
	if ln, err = listen(ctx, socket); err != nil {
		unlock()
		return nil, nil, err
	}
	return ln, unlock, nil
}

// Serve serves an API until ctx ends.
func Serve(ctx context.Context, ln net.Listener, api http.Handler, log *slog.Logger) error {
	server := &http.Server{Handler: api, ReadHeaderTimeout: callTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return telemetry.ServeHTTP(ctx, ln, server, time.Second)
}

// lock makes sure that one agent serves a socket, also when two start at the same moment.
func lock(socket string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of socket: %w", err)
	}
	f, err := os.OpenFile(socket+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock socket: %w", err)
	}
	if err := filelock.Try(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock socket %s: another agent serves it: %w", socket, err)
	}
	return func() { _ = filelock.Release(f) }, nil
}

func listen(ctx context.Context, socket string) (net.Listener, error) {
	// The lock is held, so a socket that lies there is of an agent that was killed.
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for the platform's clients: %w", err)
	}
	// Who may write here may run what the agent runs.
	if err := os.Chmod(socket, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("close socket to others: %w", err)
	}
	return ln, nil
}
