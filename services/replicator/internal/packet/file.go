package packet

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// maxSnap bounds one packet of a file, whatever its header claims.
const maxSnap = 256 << 10

// file reads pcap and pcapng.
type file struct {
	packets interface {
		ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
		LinkType() layers.LinkType
	}
	closer io.Closer
	layer  gopacket.LayerType
}

func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open packet file: %w", err)
	}
	r, err := newFile(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read packet file %s: %w", path, err)
	}
	r.closer = f
	return r, nil
}

func newFile(r io.Reader) (*file, error) {
	buffered := bufio.NewReaderSize(r, 1<<20)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("read its beginning: %w", err)
	}
	f := &file{}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		f.packets, err = pcapgo.NewNgReader(buffered, pcapgo.DefaultNgReaderOptions)
	} else {
		var plain *pcapgo.Reader
		if plain, err = pcapgo.NewReader(buffered); err == nil {
			plain.SetSnaplen(min(max(plain.Snaplen(), 1<<16), maxSnap))
			f.packets = plain
		}
	}
	if err != nil {
		return nil, err
	}
	f.layer, err = layerOf(f.packets.LinkType())
	return f, err
}

func layerOf(link layers.LinkType) (gopacket.LayerType, error) {
	switch link {
	case layers.LinkTypeEthernet:
		return layers.LayerTypeEthernet, nil
	case layers.LinkTypeLinuxSLL:
		return layers.LayerTypeLinuxSLL, nil
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return layers.LayerTypeLoopback, nil
	case layers.LinkTypeIPv4:
		return layers.LayerTypeIPv4, nil
	case layers.LinkTypeIPv6:
		return layers.LayerTypeIPv6, nil
	}
	return 0, fmt.Errorf("link type %v is not known", link)
}

func (f *file) next(context.Context) ([]byte, gopacket.CaptureInfo, error) {
	return f.packets.ReadPacketData()
}

func (f *file) first() gopacket.LayerType { return f.layer }

func (f *file) counts() (given, dropped uint64, err error) { return 0, 0, nil }

func (f *file) close() { _ = f.closer.Close() }

// paced lets packets come with the distances they have in a file, moved to now.
type paced struct {
	reader
	speed float64
	begun time.Time
	zero  time.Time // the first packet's time
	last  time.Time
}

func (p *paced) next(ctx context.Context) ([]byte, gopacket.CaptureInfo, error) {
	data, ci, err := p.reader.next(ctx)
	if err != nil {
		return nil, ci, err
	}
	if p.zero.IsZero() {
		p.begun, p.zero, p.last = time.Now(), ci.Timestamp, ci.Timestamp
	}
	if ci.Timestamp.After(p.last) {
		p.last = ci.Timestamp // time does not run backwards
	}
	ci.Timestamp = p.begun.Add(time.Duration(float64(p.last.Sub(p.zero)) / p.speed))
	if wait := time.Until(ci.Timestamp); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ci, ctx.Err()
		}
	}
	return data, ci, nil
}
