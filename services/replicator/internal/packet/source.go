package packet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Hops of the ledgers that come before the tap's.
const (
	PacketsHop     = "replicator/packets"
	ConnectionsHop = "replicator/connections"
)

// reader yields packets. Their data is valid until the next call.
type reader interface {
	// next returns a packet, errQuiet when none came for a moment, or io.EOF.
	next(ctx context.Context) ([]byte, gopacket.CaptureInfo, error)
	// first is the outermost layer of packets.
	first() gopacket.LayerType
	// counts is what the kernel has given to this capture and what it dropped of that; zero for a file.
	counts() (given, dropped uint64, err error)
	close()
}

var errQuiet = errors.New("no packets")

// Source captures from an interface or a file. Run is called once.
type Source struct {
	cfg    Config
	table  *table
	log    *slog.Logger
	report func(problem string)
	book   *metric.Book // of packets that were read
	// given and dropped are the kernel's counts.
	given, dropped atomic.Uint64
}

// Deps is what a source is given.
type Deps struct {
	Tap *tap.Tap
	Log *slog.Logger
	// Report hears what keeps packets from being seen, and the empty string when they are.
	Report func(problem string)
}

// New returns a source; it opens nothing.
func New(cfg Config, deps Deps) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, table: newTable(cfg, deps.Tap), log: deps.Log, report: deps.Report, book: metric.NewBook(PacketsHop)}, nil
}

// Packets accounts for every packet that passed the kernel's filter. What is in its ring is pending.
func (s *Source) Packets() metric.Ledger {
	l := s.book.Ledger()
	l.Dropped = maps.Clone(l.Dropped)
	// The kernel was asked a moment ago, and more may have been read since.
	if dropped := s.dropped.Load(); dropped > 0 {
		l.Dropped[ReasonKernel] = dropped
	}
	l.Seen = max(s.given.Load(), l.Passed+l.Lost())
	l.Pending = l.Seen - l.Passed - l.Lost()
	return l
}

// Connections accounts for every connection.
func (s *Source) Connections() metric.Ledger { return s.table.book.Ledger() }

// Run captures until ctx ends or the file does.
func (s *Source) Run(ctx context.Context) error {
	if s.cfg.File != "" {
		r, err := openFile(s.cfg.File)
		if err != nil {
			return err
		}
		defer r.close()
		return s.read(ctx, &paced{reader: r, speed: s.cfg.Speed})
	}
	r, err := openInterface(s.cfg)
	if err != nil {
		return fmt.Errorf("capture at interface %s: %w", s.cfg.Interface, err)
	}
	defer r.close()
	return s.read(ctx, r)
}

// countInterval is how often the kernel's counters are read: they are 32 bits wide and start anew with each reading.
const countInterval = 250 * time.Millisecond

// drainTimeout bounds how long the kernel's ring is read on after the end.
const drainTimeout = 2 * time.Second

func (s *Source) read(ctx context.Context, r reader) error {
	s.report("")
	d := newDecoder(r.first(), s.cfg.VXLAN)
	latest, counted := time.Now(), time.Now()
	err := error(nil)
	for n := 0; ctx.Err() == nil; n++ {
		var data []byte
		var ci gopacket.CaptureInfo
		if data, ci, err = r.next(ctx); err != nil && !errors.Is(err, errQuiet) {
			break
		}
		quiet := err != nil
		if !quiet {
			latest = ci.Timestamp
			s.packet(d, data, ci)
		}
		if n%256 != 0 && !quiet {
			continue
		}
		now := time.Now()
		if quiet && s.cfg.File == "" {
			s.table.sweep(now)
		}
		if now.Sub(counted) >= countInterval {
			counted = now
			s.count(r)
		}
	}
	latest = s.drain(d, r, latest)
	s.table.close(latest)
	if err == nil || errors.Is(err, errQuiet) || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	// A file that breaks off half way was good until there.
	s.log.Warn("capture ended early", "err", err)
	if s.cfg.File != "" {
		s.book.See(1)
		s.book.Drop(ReasonMalformed, 1)
		return nil
	}
	return fmt.Errorf("read packets: %w", err)
}

// drain reads what the kernel had given when the end was asked for, as far as the time allows; the rest is dropped.
func (s *Source) drain(d *decoder, r reader, latest time.Time) time.Time {
	s.count(r)
	due, begun := s.given.Load(), time.Now()
	for s.book.Ledger().Seen+s.dropped.Load() < due && time.Since(begun) < drainTimeout {
		data, ci, err := r.next(context.Background())
		if err != nil {
			break
		}
		latest = ci.Timestamp
		s.packet(d, data, ci)
	}
	s.count(r)
	if l := s.Packets(); l.Pending > 0 {
		s.book.See(l.Pending)
		s.book.Drop(ReasonShutdown, l.Pending)
	}
	return latest
}

func (s *Source) count(r reader) {
	given, dropped, err := r.counts()
	if err != nil {
		s.log.Warn("kernel does not tell what it dropped", "err", err)
		return
	}
	s.given.Store(given)
	s.dropped.Store(dropped)
}

// packet takes one packet.
func (s *Source) packet(d *decoder, data []byte, ci gopacket.CaptureInfo) {
	s.book.See(1)
	seg, reason := d.decode(data, ci)
	switch {
	case reason != "":
		s.book.Drop(reason, 1)
	case !s.table.add(seg):
		s.book.Drop(ReasonOther, 1)
	case seg.missing > 0:
		s.book.Drop(ReasonTruncated, 1)
	default:
		s.book.Pass(1)
	}
}
