package accesslog

import (
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

// followed is the file that is being read.
type followed struct {
	file   *os.File
	offset int64
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
	if f.offset, err = file.Seek(0, io.SeekEnd); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("find the end of the access log: %w", err)
	}
	// The end may be half way through a line, of which the rest is no line.
	if f.offset > 0 {
		last := make([]byte, 1)
		if _, err := file.ReadAt(last, f.offset-1); err == nil && last[0] != '\n' {
			f.lines.tooLong = true
		}
	}
	return f, nil
}

// step reads what is there and reports whether there may be more at once. When there is nothing new it looks whether the
// log was cut or renamed.
func (s *Source) step(f *followed, buf []byte) (more bool, err error) {
	n, err := f.file.Read(buf)
	if n > 0 {
		f.offset += int64(n)
		f.quiet = 0
		f.lines.feed(buf[:n], s.live, s.dropTooLong)
		return true, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read access log: %w", err)
	}
	open, err := f.file.Stat()
	if err != nil {
		return false, fmt.Errorf("look at the access log: %w", err)
	}
	if open.Size() < f.offset {
		f.lines = splitter{max: s.cfg.MaxLineBytes}
		if f.offset, err = f.file.Seek(0, io.SeekStart); err != nil {
			return false, fmt.Errorf("begin the access log anew: %w", err)
		}
		s.log.Info("access log was cut, reading it from its beginning", "path", s.cfg.Path)
		return true, nil
	}
	if named, err := os.Stat(s.cfg.Path); err == nil && !os.SameFile(open, named) {
		f.quiet++
	}
	return false, nil
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
