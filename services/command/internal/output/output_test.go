package output

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCommitReplacesTheWholeFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "r.json"), filepath.Join(dir, "latest.json")
	if err := errors.Join(os.WriteFile(path, []byte("a long former report"), 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	f, err := Create(link)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "a long former report" {
		t.Errorf("before it is committed: %q", got)
	}
	if err := f.Commit(text("new")); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 || read(t, path) != "new" {
		t.Errorf("%v %v, the file holds %q", info, err, read(t, path))
	}
	if got := files(t, dir); got != "latest.json r.json" {
		t.Errorf("left %s", got)
	}
}

func TestWhatFailsLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "r.json")
	if err := os.WriteFile(path, []byte("former"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(func(w io.Writer) error { return errors.Join(text("half")(w), full) }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	f, err = Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	if got := files(t, dir); got != "r.json" || read(t, path) != "former" {
		t.Errorf("left %s with %q", got, read(t, path))
	}
}

func TestCreateSaysAtOnceWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                                  "write " + dir + ": is a directory, want a file",
		filepath.Join(dir, "no", "r.html"):   "write " + filepath.Join(dir, "no", "r.html") + ": no such file or directory",
		filepath.Join(dir, "file", "r.html"): "not a directory",
	} {
		if _, err := Create(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".part") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if got := files(t, dir); got != "file" {
		t.Errorf("left %s", got)
	}
}

func TestWhatWasNotAskedFor(t *testing.T) {
	t.Parallel()
	f, err := Create("")
	if err != nil || f.Wanted() {
		t.Fatal(f, err)
	}
	if err := f.Commit(func(io.Writer) error { return errors.New("written") }); err != nil {
		t.Error(err)
	}
	f.Discard()
}

func TestDevicesAreWrittenInPlace(t *testing.T) {
	t.Parallel()
	f, err := Create(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(text("x")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Error(info, err)
	}
}
