package main

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// packetFigure is what the passive capture got of one kind of traffic.
type packetFigure struct {
	Variant     string  `json:"variant"`
	Sent        int     `json:"sent"`
	PerSecond   float64 `json:"requests_per_second"`
	Captured    uint64  `json:"captured"`
	Share       float64 `json:"share"`
	KernelDrops uint64  `json:"kernel_drops"`
	// Unexplained is what was sent and is neither captured nor in a ledger as lost.
	Unexplained int64   `json:"unexplained"`
	CPUMicros   float64 `json:"cpu_us_per_request"`
}

// Targets of the capture: GoReplay gets 45 to 50 % of the large ones.
const (
	largeShare = 0.999
	smallShare = 1
)

// packets captures at the loopback with the default configuration.
func packets(_ options, all *results) error {
	for _, kind := range []struct {
		name  string
		rate  float64
		count int64
		share float64
		make  func(int) string
	}{
		{"POST of 128 KiB", math.Inf(1), 8000, largeShare, post}, {"small GET", 20000, 100_000, smallShare, get},
		{"small GET, as fast as it goes", math.Inf(1), 150_000, smallShare, get},
	} {
		f, skipped, err := onePacketRun(kind.rate, kind.count, kind.make)
		if err != nil {
			return err
		}
		if skipped != "" {
			all.Skipped = append(all.Skipped, skipped)
			return nil
		}
		f.Variant = kind.name
		all.Packets = append(all.Packets, f)
		all.atLeast("share captured, "+kind.name, ratio{Median: f.Share}, kind.share)
		all.Targets = append(all.Targets, target{"unexplained loss, " + kind.name, ratio{Median: float64(f.Unexplained)}, "= 0", f.Unexplained == 0})
	}
	return nil
}

func onePacketRun(rate float64, count int64, make func(int) string) (f packetFigure, skipped string, err error) {
	s := &stage{}
	defer s.stop()
	application, err := s.add(spawn("application", "-role", "application"))
	if err != nil {
		return f, "", err
	}
	broker, err := s.add(spawn("broker", "-role", "broker"))
	if err != nil {
		return f, "", err
	}
	port := application.address[strings.LastIndexByte(application.address, ':')+1:]
	capture, err := spawn("capture", "-role", "capture", "-port", port, "-ratio", "0.1", "-broker", broker.address)
	if err != nil {
		return f, fmt.Sprintf("packets: %v (it takes the right to open raw sockets, CAP_NET_RAW)", err), nil
	}
	before := capture.cpu()
	var next atomic.Int64
	begun := time.Now()
	r := load(application.address, few, func() bool {
		k := next.Add(1) - 1
		if k >= count {
			return false
		}
		if !math.IsInf(rate, 1) {
			pause(time.Until(begun.Add(time.Duration(float64(k) / rate * float64(time.Second)))))
		}
		return true
	}, make)
	capture.settle()
	f.CPUMicros = float64((capture.cpu() - before).Nanoseconds()) / 1e3 / float64(r.done)
	ledgers := map[string]metric.Ledger{}
	for _, l := range capture.end() {
		ledgers[l.Hop] = l
	}
	tap, packets := ledgers["replicator/tap"], ledgers["replicator/packets"]
	f.Sent, f.PerSecond = r.done, float64(r.done)/r.took.Seconds()
	whole := tap.Seen - tap.Dropped["gap"] - tap.Dropped["cut"]
	f.Captured, f.Share, f.KernelDrops = whole, float64(whole)/float64(r.done), packets.Dropped["kernel"]
	// Requests lost in a gap are one gap each at least; without drops in the kernel there may be none at all.
	if lost := int64(r.done) - int64(whole) - int64(tap.Dropped["gap"]+tap.Dropped["cut"]); lost != 0 && f.KernelDrops == 0 {
		f.Unexplained = lost
	}
	if packets.Pending != 0 || !packets.Balanced() || !tap.Balanced() {
		f.Unexplained += int64(packets.Pending)
	}
	return f, "", nil
}
