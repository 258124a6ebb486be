package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/foreshadow/foreshadow/libs/filelock"
)

// file is a journal on the disk. Only one process may use it: of two, each would undo the pauses that the other was given, and
// forget its changes. Who finds that another has written it writes it no more.
type file struct {
	path string
	// last is what this process read or wrote; nil when there was nothing.
	last []byte
}

// String names it in errors.
func (f *file) String() string { return f.path }

// Load implements Store.
func (f *file) Load() ([]byte, error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f.last = data
	return data, err
}

// Save implements Store. One that was removed is written anew.
func (f *file) Save(data []byte) error {
	release, err := lock(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer release()
	there, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !bytes.Equal(there, f.last):
		return fmt.Errorf("%w: another provisioner uses the state_dir too, and this one changes nothing any more", ErrOutdated)
	}
	err = replace(f.path, data)
	if there, again := os.ReadFile(f.path); again == nil && bytes.Equal(there, data) {
		f.last = data // also when it is only not known to be durable
	}
	return err
}

// lock keeps others from writing in a directory until release is called. It does not wait: who holds it may have been frozen. Where
// the file system has no such locks, some network ones have none of directories, what was read last must do.
func lock(dir string) (release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := filelock.Try(d); errors.Is(err, filelock.ErrTaken) {
		return nil, errors.Join(fmt.Errorf("write in %s: %w", dir, err), d.Close())
	}
	return func() { _ = filelock.Release(d) }, nil
}

// replace writes a file so that at any moment, a crash included, the old or the new one is there as a whole.
func replace(path string, data []byte) error {
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
