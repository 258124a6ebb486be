package rpc

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// watched is a value read from files. It looks at them when it is asked, at most every checkEvery, so that it needs no
// goroutine of its own; while they cannot be read it keeps the last good value and says so once.
type watched[T any] struct {
	what  string
	files []string
	load  func() (T, error)
	log   *slog.Logger

	mu      sync.Mutex
	value   T
	checked time.Time
	seen    []os.FileInfo
	failed  bool
}

// watch reads the value for the first time; that must succeed. Empty file names are left out.
func watch[T any](log *slog.Logger, what string, load func() (T, error), files ...string) (*watched[T], error) {
	w := &watched[T]{what: what, load: load, log: log, checked: time.Now()}
	for _, f := range files {
		if f != "" {
			w.files = append(w.files, f)
		}
	}
	var err error
	if w.seen, err = stat(w.files); err == nil {
		w.value, err = load()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return w, nil
}

// get returns the value as of at most checkEvery ago.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); len(w.files) > 0 && now.Sub(w.checked) >= checkEvery {
		w.checked = now
		w.refresh()
	}
	return w.value
}

// refresh reads changed files again; the caller holds the lock. What was seen is taken before the files are read: a change
// in between is found by the next look.
func (w *watched[T]) refresh() {
	now, err := stat(w.files)
	if err == nil && same(w.seen, now) && !w.failed {
		return
	}
	var value T
	if err == nil {
		value, err = w.load()
	}
	if err != nil {
		if !w.failed {
			w.log.Warn("files not read again, the last good ones are kept", "section", w.what, "err", err)
		}
		w.failed = true
		return
	}
	w.value, w.seen, w.failed = value, now, false
	w.log.Info("files read again", "section", w.what)
}

func stat(files []string) ([]os.FileInfo, error) {
	out := make([]os.FileInfo, len(files))
	for i, f := range files {
		var err error
		if out[i], err = os.Stat(f); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// watchToken reads a token from the configuration or a file. Space around it, such as an editor's last line end, is no part
// of it.
func watchToken(log *slog.Logger, what string, given workload.Secret, file string) (*watched[string], error) {
	return watch(log, what, func() (string, error) {
		token := given.Reveal()
		if file != "" {
			raw, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			token = string(raw)
		}
		token = strings.TrimSpace(token)
		if len(token) < minToken {
			return "", fmt.Errorf("the token has %d characters; fewer than %d can be guessed", len(token), minToken)
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", fmt.Errorf("the token has characters that no header can carry")
		}
		return token, nil
	}, file)
}
