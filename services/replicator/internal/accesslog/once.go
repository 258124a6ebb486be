package accesslog

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxSecond bounds the entries of one second that are held to be spread over it.
const maxSecond = 100_000

// pacer lets entries arrive with the distances they have in the log, from the moment the first one is due.
type pacer struct {
	source *Source
	first  time.Time // of the log
	begun  time.Time // when that was, by the clock
	latest time.Time // of the log, for time does not run backwards
	second []*entry  // entries of one undivided second
}

// once reads the log to its end.
func (s *Source) once(ctx context.Context) error {
	file, err := os.Open(s.cfg.Path)
	if err != nil {
		return fmt.Errorf("open access log: %w", err)
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(s.cfg.Path, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			return fmt.Errorf("unpack access log: %w", err)
		}
	}
	s.report("")
	p, lines, buf := &pacer{source: s}, splitter{max: s.cfg.MaxLineBytes}, make([]byte, 64<<10)
	line := func(l []byte) { p.line(ctx, l) }
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		lines.feed(buf[:n], line, s.dropTooLong)
		if err == nil {
			continue
		}
		lines.end(line)
		p.flush(ctx)
		if err != io.EOF {
			return fmt.Errorf("read access log: %w", err)
		}
		s.log.Info("access log was read to its end", "path", s.cfg.Path)
		return nil
	}
	p.flush(ctx)
	return nil
}

// line takes an entry. Those of a second that the log does not divide wait for the end of it.
func (p *pacer) line(ctx context.Context, line []byte) {
	if ctx.Err() != nil {
		return
	}
	e, ok := p.source.read(line)
	if !ok {
		return
	}
	if len(p.second) > 0 && (!e.whole || !e.at.Equal(p.second[0].at) || len(p.second) >= maxSecond) {
		p.flush(ctx)
	}
	if e.whole {
		p.second = append(p.second, e)
		return
	}
	p.arrive(ctx, e, e.at)
}

func (p *pacer) flush(ctx context.Context) {
	n := len(p.second)
	for i, e := range p.second {
		p.arrive(ctx, e, e.at.Add(time.Duration(float64(time.Second)*(float64(i)+0.5)/float64(n))))
	}
	p.second = p.second[:0]
}

// arrive waits until the entry is due, and hands it over. At the end of ctx what is left was seen and is dropped.
func (p *pacer) arrive(ctx context.Context, e *entry, at time.Time) {
	if p.first.IsZero() {
		p.first, p.latest, p.begun = at, at, p.source.now()
	}
	if at.After(p.latest) {
		p.latest = at
	}
	due := p.begun.Add(time.Duration(float64(p.latest.Sub(p.first)) / p.source.cfg.Speed))
	if wait := due.Sub(p.source.now()); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		p.source.book.Drop(ReasonShutdown, 1)
		return
	}
	e.at = due
	p.source.hand(e, e.arrive())
}
