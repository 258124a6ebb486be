package local

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
)

const (
	maxOutputBytes = 1 << 20
	lastLineBytes  = 200
	keptOutputs    = 10
)

// output takes what an instance prints: the first maxOutputBytes go to its file, if it has one, and the last line is kept
// as the likely reason when it fails. A write never fails, because the instance would be told and could end of it.
type output struct {
	mu   sync.Mutex
	file *os.File
	left int
	tail []byte
}

// newOutput opens the file of an instance in dir; an empty dir keeps none.
func newOutput(dir, id string) (*output, error) {
	o := &output{left: maxOutputBytes}
	if dir == "" {
		return o, nil
	}
	f, err := os.OpenFile(filepath.Join(dir, id+outputSuffix), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open output of instance: %w", err)
	}
	o.file = f
	return o, nil
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p[max(0, len(p)-2*lastLineBytes):]...)
	if over := len(o.tail) - 2*lastLineBytes; over > 0 {
		o.tail = append(o.tail[:0], o.tail[over:]...)
	}
	if o.file == nil || o.left == 0 {
		return len(p), nil
	}
	n := min(len(p), o.left)
	o.left -= n
	// A full disk must not end an instance that serves.
	_, _ = o.file.Write(p[:n])
	if o.left == 0 {
		_, _ = io.WriteString(o.file, "\n[output ends here: the file is full]\n")
	}
	return len(p), nil
}

// lastLine is the last line printed, without control characters.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := bytes.TrimSpace(o.tail)
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, string(line))
	return strings.ToValidUTF8(clean[:min(len(clean), lastLineBytes)], "")
}

func (o *output) close() {
	if o.file != nil {
		_ = o.file.Close()
	}
}

const outputSuffix = ".log"

// pruneOutputs removes all but the newest files of ended instances of a group.
func pruneOutputs(dir, group string, running map[string]bool) error {
	if dir == "" {
		return nil
	}
	// The identities of a group are its name, a dash and idLength characters, so no other group's files match.
	names, err := filepath.Glob(filepath.Join(dir, group+"-"+strings.Repeat("?", idLength)+outputSuffix))
	if err != nil {
		return fmt.Errorf("list outputs: %w", err)
	}
	type file struct {
		name     string
		modified int64
	}
	var ended []file
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || running[strings.TrimSuffix(filepath.Base(name), outputSuffix)] {
			continue
		}
		ended = append(ended, file{name, info.ModTime().UnixNano()})
	}
	slices.SortFunc(ended, func(a, b file) int { return cmp.Compare(b.modified, a.modified) })
	for _, f := range ended[min(len(ended), keptOutputs):] {
		if err := os.Remove(f.name); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove old output: %w", err)
		}
	}
	return nil
}
