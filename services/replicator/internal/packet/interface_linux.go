package packet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/afpacket"
	"github.com/gopacket/gopacket/layers"
)

// ring is the kernel's packet ring (AF_PACKET, TPACKET_V3): no system call and no copy per packet, and no C.
type ring struct {
	*afpacket.TPacket
	given, dropped counter
}

// counter makes 64 bits of the 32 that are told.
type counter struct {
	last  uint32
	total uint64
}

func (c *counter) add(now uint32) uint64 {
	c.total += uint64(now - c.last)
	c.last = now
	return c.total
}

// retire is how long the kernel may hold back a block that is not full. Each time it does, a block is used up however little
// is in it: times the number of blocks, this is how long the capture may be kept from running while there is little traffic.
const retire = 50 * time.Millisecond

func openInterface(cfg Config) (reader, error) {
	device, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("find it: %w", err)
	}
	program, err := filter(cfg.Ports, cfg.VXLAN, device.Flags&net.FlagLoopback != 0)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	page := os.Getpagesize()
	t, err := afpacket.NewTPacket(
		afpacket.OptInterface(cfg.Interface), afpacket.TPacketVersion3, afpacket.OptFrameSize(page), afpacket.OptBlockSize(blockBytes),
		afpacket.OptNumBlocks(cfg.RingBytes/blockBytes), afpacket.OptBlockTimeout(retire), afpacket.OptPollTimeout(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("open a raw socket (it takes CAP_NET_RAW): %w", err)
	}
	if err := t.SetBPF(program); err != nil {
		t.Close()
		return nil, fmt.Errorf("set the filter: %w", err)
	}
	if cfg.Promiscuous {
		if err := t.SetPromiscuous(true); err != nil {
			t.Close()
			return nil, fmt.Errorf("make it promiscuous: %w", err)
		}
	}
	return &ring{TPacket: t}, nil
}

func (r *ring) next(context.Context) ([]byte, gopacket.CaptureInfo, error) {
	data, ci, err := r.ZeroCopyReadPacketData()
	if errors.Is(err, afpacket.ErrTimeout) {
		err = errQuiet
	}
	return data, ci, err
}

func (r *ring) first() gopacket.LayerType { return layers.LayerTypeEthernet }

func (r *ring) counts() (given, dropped uint64, err error) {
	_, stats, err := r.SocketStats()
	if err != nil {
		return 0, 0, fmt.Errorf("read the ring's counters: %w", err)
	}
	return r.given.add(uint32(stats.Packets())), r.dropped.add(uint32(stats.Drops())), nil
}

func (r *ring) close() { r.Close() }
