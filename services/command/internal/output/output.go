// Package output writes what a command found to the file that the user named: whole, or not at all. The file is made ready
// before the work begins, since minutes of work for a folder that is not there are minutes lost.
package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is where a result goes. One that was not asked for takes no writes and leaves nothing.
type File struct {
	path string
	f    *os.File
	part string // what is renamed to path in the end; empty: written in place, for pipes and devices
}

// Create makes a file ready; what is at path stays until Commit. An empty path asks for none.
func Create(path string) (*File, error) {
	if path == "" {
		return &File{}, nil
	}
	target, flags := path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("write %s: is a directory, want a file", path)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("write to %w", err)
		}
		return &File{path: path, f: f}, nil
	case err == nil:
		if target, err = filepath.EvalSymlinks(path); err != nil {
			return nil, fmt.Errorf("write to %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("write to %w", err)
	}
	f, err := os.OpenFile(target+".part", flags, 0o666)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err // the name is that of a file which the user knows nothing of
		}
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &File{path: target, f: f, part: f.Name()}, nil
}

// Wanted says whether a file was asked for.
func (o *File) Wanted() bool { return o.f != nil }

// Commit writes the file and puts it in its place; one that cannot be written leaves what was there.
func (o *File) Commit(write func(io.Writer) error) error {
	if !o.Wanted() {
		return nil
	}
	err := errors.Join(write(o.f), o.f.Close())
	o.f = nil
	if o.part == "" {
		return err
	}
	if err == nil {
		err = os.Rename(o.part, o.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(o.part))
	}
	return nil
}

// Discard leaves nothing of a file that was not committed; after Commit it does nothing.
func (o *File) Discard() {
	if !o.Wanted() {
		return
	}
	_ = o.f.Close()
	o.f = nil
	if o.part != "" {
		_ = os.Remove(o.part)
	}
}
