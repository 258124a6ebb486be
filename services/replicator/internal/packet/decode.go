package packet

import (
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Reasons for which a packet is not part of a stream. They are ledger labels.
const (
	ReasonKernel    = "kernel"    // the kernel's ring was full
	ReasonMalformed = "malformed" // not what its headers say
	ReasonFragment  = "fragment"  // IP fragments are not put together
	ReasonOther     = "other"     // not TCP, or not of a port that is listened to
	ReasonShutdown  = "shutdown"  // still in the kernel's ring when the end came
	ReasonTruncated = "truncated" // captured in part; the rest is a gap
)

// segment is one TCP segment. Its payload is valid until the next packet is read.
type segment struct {
	at       time.Time
	src, dst netip.AddrPort
	seq, ack uint32
	payload  []byte
	syn, fin bool
	rst      bool
	hasAck   bool
	// missing bytes of the payload were not captured.
	missing uint32
}

// decoder reads packets without allocating.
type decoder struct {
	parser  *gopacket.DecodingLayerParser
	decoded []gopacket.LayerType
	ip4     layers.IPv4
	ip6     layers.IPv6
	tcp     layers.TCP
}

func newDecoder(first gopacket.LayerType, vxlan bool) *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(first, &layers.Ethernet{}, &layers.Dot1Q{}, &layers.LinuxSLL{}, &layers.Loopback{},
		&d.ip4, &d.ip6, &layers.IPv6ExtensionSkipper{}, &d.tcp)
	if vxlan {
		d.parser.AddDecodingLayer(&layers.UDP{})
		d.parser.AddDecodingLayer(&layers.VXLAN{})
	}
	d.parser.IgnoreUnsupported = true
	return d
}

// decode returns the segment that a packet holds, or why it holds none.
func (d *decoder) decode(data []byte, ci gopacket.CaptureInfo) (segment, string) {
	err := d.parser.DecodeLayers(data, &d.decoded)
	// The last headers are the inner ones of an encapsulated packet.
	n := len(d.decoded)
	if n == 0 {
		return segment{}, reasonOf(err)
	}
	four := false
	for _, t := range d.decoded {
		switch t {
		case layers.LayerTypeIPv4:
			four = true
		case layers.LayerTypeIPv6:
			four = false
		}
	}
	if four && (d.ip4.FragOffset != 0 || d.ip4.Flags&layers.IPv4MoreFragments != 0) {
		return segment{}, ReasonFragment
	}
	if d.decoded[n-1] != layers.LayerTypeTCP {
		return segment{}, reasonOf(err)
	}
	s := segment{
		at: ci.Timestamp, seq: d.tcp.Seq, ack: d.tcp.Ack, payload: d.tcp.Payload, syn: d.tcp.SYN, fin: d.tcp.FIN, rst: d.tcp.RST, hasAck: d.tcp.ACK,
	}
	var src, dst netip.Addr
	if four {
		src, _ = netip.AddrFromSlice(d.ip4.SrcIP)
		dst, _ = netip.AddrFromSlice(d.ip4.DstIP)
	} else {
		src, _ = netip.AddrFromSlice(d.ip6.SrcIP)
		dst, _ = netip.AddrFromSlice(d.ip6.DstIP)
	}
	s.src, s.dst = netip.AddrPortFrom(src, uint16(d.tcp.SrcPort)), netip.AddrPortFrom(dst, uint16(d.tcp.DstPort))
	if lost := ci.Length - len(data); lost > 0 {
		s.missing = uint32(lost)
	}
	return s, ""
}

func reasonOf(err error) string {
	if err != nil {
		return ReasonMalformed
	}
	return ReasonOther
}
