package stack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/filelock"
)

// lock makes sure that one stack at a time uses a directory: two brokers would write over each other's data. The kernel takes
// the lock away from a process that was killed.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "up.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	if err := filelock.Try(f); err != nil {
		_ = f.Close()
		if errors.Is(err, filelock.ErrTaken) {
			return nil, fmt.Errorf("run directory %s: another foreshadow runs there: stop it, or give another directory", dir)
		}
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	return func() { _ = filelock.Release(f) }, nil
}

// What a stack that was killed listened on is free a moment later.
const addressTimeout = 5 * time.Second

// awaitAddresses finds out before anything starts whether what the user wants to listen on is free.
func (s *Stack) awaitAddresses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, addressTimeout)
	defer cancel()
	for {
		err := s.tryAddresses(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tryAddresses listens on all of them at once, so that one that is given twice is found, too.
func (s *Stack) tryAddresses(ctx context.Context) error {
	var errs []error
	for _, given := range []struct {
		key       string
		addresses map[string]string
	}{{"listen", s.cfg.Listen}, {"admin", s.cfg.Admin}} {
		for _, name := range slices.Sorted(maps.Keys(given.addresses)) {
			address := given.addresses[name]
			if address == "" || s.children[name] == nil {
				continue
			}
			ln, err := new(net.ListenConfig).Listen(context.WithoutCancel(ctx), "tcp", address)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s.%s: %w", strings.ReplaceAll(name, "-", "_"), given.key, err))
				continue
			}
			defer func() { _ = ln.Close() }()
		}
	}
	return errors.Join(errs...)
}
