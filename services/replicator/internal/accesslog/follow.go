package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// quietPolls is how often in a row a log that was renamed away must have had nothing new before it is left. A server goes on
// writing to it until it was told to open its logs again, and its workers some moments longer.
const quietPolls = 5

// tailBytes before the place that is read from are compared at each look: a file that was cut and has grown beyond that place
// since is not shorter, but holds something else there. They are some lines, with their times.
const tailBytes = 1 << 10

// followed is the file that is being read.
type followed struct {
	file   *os.File
	offset int64
	tail   []byte // what stands before offset
	lines  splitter
	quiet  int
}

// follow reads the log as it grows, until ctx ends.
func (s *Source) follow(ctx context.Context) error {
	var f *followed
	defer func() {
		if f != nil {
			_ = f.file.Close()
		}
	}()
	fromStart, problem := s.cfg.FromStart, "?"
	buf := make([]byte, 64<<10)
	for {
		var err error
		if f == nil {
			f, err = s.open(fromStart)
			fromStart = true // whatever comes later is new as a whole
		}
		for err == nil && f != nil {
			var more bool
			if more, err = s.step(f, buf); err == nil && !more {
				break
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		if err == nil && f.quiet > quietPolls {
			_ = f.file.Close()
			f.lines.end(s.live)
			f = nil
			continue
		}
		if now := problemOf(err); now != problem {
			problem = now
			s.report(problem)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.poll):
		}
	}
}

func problemOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Source) open(fromStart bool) (*followed, error) {
	file, err := os.Open(s.cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	f := &followed{file: file, lines: splitter{max: s.cfg.MaxLineBytes}}
	if fromStart {
		return f, nil
	}
	if err := f.skip(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("find the end of the access log: %w", err)
	}
	return f, nil
}

// skip goes to the end of the file. That may be half way through a line, of which the rest is no line.
func (f *followed) skip() error {
	end, err := f.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	f.tail = make([]byte, min(end, tailBytes))
	n, err := f.file.ReadAt(f.tail, end-int64(len(f.tail)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < len(f.tail) { // it was cut meanwhile, and is new as a whole
		f.tail = nil
		return nil
	}
	f.offset = end
	f.lines.tooLong = n > 0 && f.tail[n-1] != '\n'
	return nil
}

// step reads what is there and reports whether there may be more at once. When there is nothing new it looks whether the
// log was renamed.
func (s *Source) step(f *followed, buf []byte) (more bool, err error) {
	n, err := f.read(buf)
	if err != nil {
		return false, fmt.Errorf("read access log: %w", err)
	}
	if !bytes.HasPrefix(buf[:n], f.tail) {
		f.offset, f.tail, f.quiet, f.lines = 0, nil, 0, splitter{max: s.cfg.MaxLineBytes}
		s.log.Info("access log was cut, reading it from its beginning", "path", s.cfg.Path)
		return true, nil
	}
	if n > len(f.tail) {
		s.take(f, buf[:n])
		return true, nil
	}
	open, err := f.file.Stat()
	if err != nil {
		return false, fmt.Errorf("look at the access log: %w", err)
	}
	if named, err := os.Stat(s.cfg.Path); err == nil && !os.SameFile(open, named) {
		f.quiet++
	}
	return false, nil
}

// read reads the tail again and what is new by one call of the system (ReadAt would be two), so that the log is not cut between.
func (f *followed) read(buf []byte) (int, error) {
	if _, err := f.file.Seek(f.offset-int64(len(f.tail)), io.SeekStart); err != nil {
		return 0, err
	}
	n, err := f.file.Read(buf)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// take takes over what stands behind the tail in read.
func (s *Source) take(f *followed, read []byte) {
	fresh := read[len(f.tail):]
	begins := f.begins()
	f.offset += int64(len(fresh))
	f.quiet = 0
	f.tail = append(f.tail[:0], read[max(0, len(read)-tailBytes):]...)
	if begins {
		fresh = bytes.TrimLeft(fresh, "\x00")
	}
	f.lines.feed(fresh, s.live, s.dropTooLong)
}

// begins reports whether nothing but a hole was read yet: a server that does not append writes on where it was in a log that
// was cut, and there are zeros before it.
func (f *followed) begins() bool {
	return f.offset == 0 || len(bytes.Trim(f.tail, "\x00")) == 0
}

// live hands over a line that was just written.
func (s *Source) live(line []byte) {
	e, ok := s.read(line)
	if !ok {
		return
	}
	if e.whole {
		// When in its second it was is best known by when it was read.
		now, first := s.now(), e.at
		if e.at = now; now.Before(first) {
			e.at = first
		} else if last := first.Add(time.Second - 1); now.After(last) {
			e.at = last
		}
	}
	s.hand(e, e.arrive())
}
