package accesslog

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Hop names the ledger of lines.
const Hop = "replicator/log"

// pollInterval is how often a followed log is looked at. Polling needs no watch on a directory that may be replaced, works
// on network file systems, and costs one system call.
const pollInterval = 200 * time.Millisecond

// Source reads one log. Run is called once.
type Source struct {
	cfg    Config
	tap    *tap.Tap
	parser parser
	log    *slog.Logger
	// report says what keeps the log from being read; empty when nothing does.
	report func(problem string)
	book   *metric.Book
	poll   time.Duration
	now    func() time.Time
}

// Deps is what a source is given.
type Deps struct {
	Tap *tap.Tap
	Log *slog.Logger
	// Report hears what keeps the log from being read, and the empty string when it is read.
	Report func(problem string)
}

// New returns a source; it does not open the log.
func New(cfg Config, deps Deps) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p, err := newParser(cfg.Format, cfg.Fields)
	if err != nil {
		return nil, err
	}
	return &Source{
		cfg: cfg, tap: deps.Tap, parser: p, log: deps.Log, report: deps.Report, book: metric.NewBook(Hop),
		poll: pollInterval, now: time.Now,
	}, nil
}

// Ledger accounts for every line.
func (s *Source) Ledger() metric.Ledger { return s.book.Ledger() }

// Run reads until ctx ends or, read once, until the log does.
func (s *Source) Run(ctx context.Context) error {
	if s.cfg.Follow {
		return s.follow(ctx)
	}
	return s.once(ctx)
}

// read makes an entry of a line, or counts why it is none.
func (s *Source) read(line []byte) (*entry, bool) {
	s.book.See(1)
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		s.book.Drop(ReasonEmpty, 1)
		return nil, false
	}
	e, err := s.parser.parse(line)
	if err != nil {
		s.drop(err)
		return nil, false
	}
	return e, true
}

func (s *Source) drop(err error) {
	reason, ok := err.(refusal) //nolint:errorlint // it is never wrapped
	if !ok {
		reason = ReasonFormat
	}
	s.book.Drop(string(reason), 1)
}

// hand gives a request to the tap as one that arrived at the given time.
func (s *Source) hand(e *entry, arrive time.Time) {
	r, err := e.request()
	if err != nil {
		s.drop(err)
		return
	}
	if tap.IsLoop(r.Header) {
		s.tap.RefuseLoop(e.latency)
	} else {
		s.tap.Begin(r, arrive).End(e.result())
	}
	s.book.Pass(1)
}

// splitter cuts a stream into lines of bounded length.
type splitter struct {
	max     int
	rest    []byte
	tooLong bool // the line that is being read was given up
}

// feed calls line for each line that p completes, and long for each that is too long.
func (s *splitter) feed(p []byte, line func([]byte), long func()) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		if !s.tooLong && len(s.rest)+len(part) > s.max {
			s.tooLong, s.rest = true, s.rest[:0]
			long()
		}
		if end < 0 {
			if !s.tooLong {
				s.rest = append(s.rest, part...)
			}
			return
		}
		switch {
		case s.tooLong:
		case len(s.rest) == 0:
			line(part)
		default:
			line(append(s.rest, part...))
		}
		s.rest, s.tooLong = s.rest[:0], false
		p = p[end+1:]
	}
}

// end calls line for what stands behind the last end of line.
func (s *splitter) end(line func([]byte)) {
	if len(s.rest) > 0 && !s.tooLong {
		line(s.rest)
	}
	s.rest, s.tooLong = nil, false
}

func (s *Source) dropTooLong() {
	s.book.See(1)
	s.book.Drop(ReasonTooLong, 1)
}
