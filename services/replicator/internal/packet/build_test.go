package packet

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// copies keeps what the tap publishes.
type copies struct {
	mu   sync.Mutex
	list []*foreshadowv1.CapturedRequest
}

func (c *copies) PublishEvent(e kafka.Event[*foreshadowv1.CapturedRequest]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, e.Message)
	return true
}

func (c *copies) Ledger() kafka.Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	return kafka.Ledger{Offered: uint64(len(c.list)), Published: uint64(len(c.list))}
}

// rig is a source over a tap that copies everything.
type rig struct {
	*copies
	tap    *tap.Tap
	source *Source
	acc    *observe.Accumulator
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.RedactQuery, w.Tap.MaxBodyBytes = "shop", 1, "k", nil, 1<<20
	w.Tap.Methods = []string{"GET", "HEAD", "POST", "CONNECT"}
	r := &rig{copies: &copies{}, acc: observe.NewAccumulator(time.Now)}
	var err error
	w.Tap.AnswerShapes = 1e6
	r.tap, err = tap.New(tap.Config{Workload: w, KeepBodies: []string{"text/plain", "application/octet-stream"}, Publisher: r.copies, Accumulator: r.acc})
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Ports, cfg.File, cfg.Speed = []int{80}, "unused", 1e9
	if change != nil {
		change(&cfg)
	}
	if r.source, err = New(cfg, Deps{Tap: r.tap, Log: slog.New(slog.DiscardHandler), Report: func(string) {}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// play runs the source over packets as a file has them, without waiting for their time.
func (r *rig) play(t testing.TB, w *wire) *rig {
	t.Helper()
	f, err := newFile(bytes.NewReader(w.file(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.source.read(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if p := r.source.Packets(); !p.Balanced() || p.Pending != 0 || p.Seen != uint64(len(w.packets)) {
		t.Errorf("packets %+v of %d", p, len(w.packets))
	}
	if c := r.source.Connections(); !c.Balanced() || c.Pending != 0 {
		t.Errorf("connections %+v", c)
	}
	if l := r.tap.Ledger(); !l.Balanced() || l.Pending != 0 {
		t.Errorf("tap %+v", l)
	}
	if n := r.source.table.held; n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
	if n := r.acc.InFlight(); n != 0 {
		t.Errorf("%d requests are still in flight", n)
	}
	return r
}

func (r *rig) targets() (out []string) {
	for _, c := range r.list {
		out = append(out, c.GetMethod()+" "+c.GetTarget())
	}
	return out
}

// wire is a list of packets.
type wire struct {
	at      time.Time
	packets [][]byte
	times   []time.Time
	vxlan   bool
	six     bool
}

func newWire() *wire { return &wire{at: time.Unix(1_700_000_000, 0)} }

// step lets time pass.
func (w *wire) step(d time.Duration) { w.at = w.at.Add(d) }

// talk is one connection of which both ends are made up.
type talk struct {
	w              *wire
	port           int
	client, server uint32 // next sequence numbers
}

// dial shakes hands, with sequence numbers that are about to wrap around.
func (w *wire) dial(port int) *talk {
	t := &talk{w: w, port: port, client: 0xffffffff - 20, server: 0xffffffff - 10}
	t.send(true, nil, func(p *layers.TCP) { p.SYN, p.ACK = true, false })
	t.client++
	t.send(false, nil, func(p *layers.TCP) { p.SYN = true })
	t.server++
	t.send(true, nil, nil)
	return t
}

func (t *talk) ask(text string) *talk    { t.send(true, []byte(text), nil); return t }
func (t *talk) answer(text string) *talk { t.send(false, []byte(text), nil); return t }

func (t *talk) hangUp() {
	for _, client := range []bool{true, false} {
		t.send(client, nil, func(p *layers.TCP) { p.FIN = true })
		if client {
			t.client++
		} else {
			t.server++
		}
	}
}

// send makes the packet of a segment, moves the sender's sequence number on, and returns the packet's index.
func (t *talk) send(client bool, payload []byte, change func(*layers.TCP)) int {
	tcp := &layers.TCP{SrcPort: layers.TCPPort(t.port), DstPort: 80, Seq: t.client, Ack: t.server, ACK: true, Window: 1 << 15}
	if client {
		t.client += uint32(len(payload))
	} else {
		tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = 80, layers.TCPPort(t.port), t.server, t.client
		t.server += uint32(len(payload))
	}
	if change != nil {
		change(tcp)
	}
	src, dst := net.IP{192, 0, 2, 1}, net.IP{192, 0, 2, 80}
	if !client {
		src, dst = dst, src
	}
	t.w.packets = append(t.w.packets, t.w.pack(src, dst, tcp, payload))
	t.w.times = append(t.w.times, t.w.at)
	t.w.step(time.Millisecond)
	return len(t.w.packets) - 1
}

func (w *wire) pack(src, dst net.IP, tcp *layers.TCP, payload []byte) []byte {
	eth := &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer
	four := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src, DstIP: dst}
	ip = four
	_ = tcp.SetNetworkLayerForChecksum(four)
	if w.six {
		six := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src.To16(), DstIP: dst.To16()}
		eth.EthernetType = layers.EthernetTypeIPv6
		_ = tcp.SetNetworkLayerForChecksum(six)
		ip = six
	}
	parts := []gopacket.SerializableLayer{eth, ip, tcp, gopacket.Payload(payload)}
	if w.vxlan {
		outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
		udp := &layers.UDP{SrcPort: 50000, DstPort: vxlanPort}
		_ = udp.SetNetworkLayerForChecksum(outer)
		oe := *eth
		oe.EthernetType = layers.EthernetTypeIPv4
		parts = append([]gopacket.SerializableLayer{&oe, outer, udp, &layers.VXLAN{ValidIDFlag: true, VNI: 7}}, parts...)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err)
	}
	return bytes.Clone(b.Bytes())
}

// drop removes a packet, as a full ring does.
func (w *wire) drop(i int) {
	w.packets = append(w.packets[:i:i], w.packets[i+1:]...)
	w.times = append(w.times[:i:i], w.times[i+1:]...)
}

func (w *wire) file(t testing.TB) []byte {
	var b bytes.Buffer
	f := pcapgo.NewWriterNanos(&b)
	if err := f.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, p := range w.packets {
		if err := f.WritePacket(gopacket.CaptureInfo{Timestamp: w.times[i], CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func (r *rig) decoder() *decoder { return newDecoder(layers.LayerTypeEthernet, true) }

func captureInfo(at time.Time, length int) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: at, CaptureLength: length, Length: length}
}
