//go:build unix

package filelock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/foreshadow/foreshadow/libs/filelock"
)

// TestReleaseDoesNotWaitForACopy: a child that is being started has one for a moment.
func TestReleaseDoesNotWaitForACopy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := filelock.Try(f); err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(child) }()
	if err := filelock.Release(f); err != nil {
		t.Fatal(err)
	}
	next, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := filelock.Try(next); err != nil {
		t.Errorf("the lock that was given up is held: %v", err)
	}
}
