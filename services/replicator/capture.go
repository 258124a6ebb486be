package replicator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/services/replicator/internal/accesslog"
	"github.com/foreshadow/foreshadow/services/replicator/internal/mirror"
	"github.com/foreshadow/foreshadow/services/replicator/internal/packet"
)

// Mode is a way in.
type Mode string

// Ways in. Package documentation says when to choose which.
const (
	ModeProxy     Mode = "proxy"     // in line: users' requests pass through
	ModeMirror    Mode = "mirror"    // a sink for the mirrors of proxies that are there already
	ModePacket    Mode = "packet"    // packets of an interface or of a pcap file
	ModeAccessLog Mode = "accesslog" // the log of a web server
)

// Capture is the section `replicator.capture`.
type Capture struct {
	// Mode is proxy, mirror, packet or accesslog.
	Mode Mode `yaml:"mode"`
	// AccessLog says how to read a log, in mode accesslog.
	AccessLog accesslog.Config `yaml:"accesslog"`
	// Packet says where to listen, in mode packet.
	Packet packet.Config `yaml:"packet"`
}

func (c Capture) validate(fault func(key, format string, args ...any)) {
	var err error
	switch c.Mode {
	case ModeProxy, ModeMirror:
	case ModeAccessLog:
		err = c.AccessLog.Validate()
	case ModePacket:
		err = c.Packet.Validate()
	default:
		fault("capture.mode", "want proxy, mirror, packet or accesslog, got %q", c.Mode)
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fault("capture."+string(c.Mode)+"."+before(line), "%s", after(line))
		}
	}
}

func before(line string) string { key, _, _ := strings.Cut(line, ": "); return key }

func after(line string) string { _, text, _ := strings.Cut(line, ": "); return text }

// source is a way in. It hands every request that it sees to the tap, which never makes it wait.
type source interface {
	// Run captures until ctx ends, or until what it reads has ended, and returns when all that it began was handed over.
	Run(ctx context.Context) error
}

// sourceFunc is a function as a source.
type sourceFunc func(ctx context.Context) error

// Run implements source.
func (f sourceFunc) Run(ctx context.Context) error { return f(ctx) }

// newSource makes the way in that the configuration asks for, and shows its ledger.
func (s *Service) newSource() (source, error) {
	switch s.cfg.Capture.Mode {
	case ModeMirror:
		return sourceFunc(s.serveMirror), nil
	case ModeAccessLog:
		log, err := accesslog.New(s.cfg.Capture.AccessLog, accesslog.Deps{Tap: s.tap, Log: s.deps.Log, Report: s.report})
		if err != nil {
			return nil, err
		}
		s.show(log.Ledger)
		return log, nil
	case ModePacket:
		packets, err := packet.New(s.cfg.Capture.Packet, packet.Deps{Tap: s.tap, Log: s.deps.Log, Report: s.report})
		if err != nil {
			return nil, err
		}
		s.show(packets.Packets, packets.Connections)
		return packets, nil
	}
	s.deps.Admin.NotReady(partInstances, "the platform has not reported group "+s.workload.Production.Group+" yet")
	return sourceFunc(s.serveProxy), nil
}

// show adds the ledgers of what comes before requests: lines, or packets and connections.
func (s *Service) show(ledgers ...func() metric.Ledger) {
	for _, read := range ledgers {
		s.deps.Admin.AddLedger(read)
	}
	s.deps.Admin.NotReady(partCapture, "capture has not begun yet")
}

// report makes what keeps a way in from seeing traffic the process's state.
func (s *Service) report(problem string) {
	if problem == "" {
		s.deps.Admin.Ready(partCapture)
		return
	}
	s.deps.Log.Warn("capture sees nothing", "workload", s.workload.Name, "reason", problem)
	s.deps.Admin.NotReady(partCapture, problem)
}

// listens reports whether a way in is a server.
func (m Mode) listens() bool { return m == ModeProxy || m == ModeMirror }

var errListener = errors.New("this way in takes no listener")

// listener returns the one that was given, or opens the configured one where the way in needs it.
func (s *Service) listener(ctx context.Context) (net.Listener, error) {
	if !s.cfg.Capture.Mode.listens() {
		return nil, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for production traffic: %w", err)
	}
	return ln, nil
}

// serveMirror runs the sink until ctx ends.
func (s *Service) serveMirror(ctx context.Context) error {
	handler := mirror.New(s.tap)
	door := s.door(1)
	server := s.server(context.WithoutCancel(ctx), door, handler)
	err := telemetry.ServeHTTPAndCut(ctx, door, server, s.cfg.DrainTimeout, func() {})
	handler.Wait()
	return err
}
