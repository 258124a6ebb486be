package packet

import (
	"golang.org/x/net/bpf"
)

const (
	vxlanPort      = 4789
	packetOutgoing = 4 // PACKET_OUTGOING
	keep           = 256 << 10
)

// filter is what the kernel lets through: TCP of the ports, VXLAN, and what only we can judge (VLAN tags inside the packet,
// IPv6 extension headers). At the loopback, where each packet passes twice, it lets it pass as it arrives.
func filter(ports []int, vxlan, loopback bool) ([]bpf.RawInstruction, error) {
	var b builder
	if loopback {
		b.add(bpf.LoadExtension{Num: bpf.ExtType})
		b.when(packetOutgoing, "drop", "")
	}
	b.add(bpf.LoadAbsolute{Off: 12, Size: 2})
	b.when(0x8100, "keep", "")
	b.when(0x88a8, "keep", "")
	b.when(0x86dd, "six", "")
	b.when(0x0800, "", "drop")
	b.add(bpf.LoadAbsolute{Off: 23, Size: 1})
	if vxlan {
		b.when(17, "udp4", "")
	}
	b.when(6, "", "drop")
	b.add(bpf.LoadMemShift{Off: 14})
	for _, off := range []uint32{14, 16} {
		b.add(bpf.LoadIndirect{Off: off, Size: 2})
		for _, p := range ports {
			b.when(uint32(p), "keep", "")
		}
	}
	b.jump("drop")
	if vxlan {
		b.label("udp4")
		b.add(bpf.LoadMemShift{Off: 14})
		b.add(bpf.LoadIndirect{Off: 16, Size: 2})
		b.when(vxlanPort, "keep", "drop")
	}
	b.label("six")
	b.add(bpf.LoadAbsolute{Off: 20, Size: 1})
	if vxlan {
		b.when(17, "udp6", "")
	}
	b.when(0, "keep", "")  // hop by hop
	b.when(60, "keep", "") // destination options
	b.when(6, "", "drop")
	for _, off := range []uint32{54, 56} {
		b.add(bpf.LoadAbsolute{Off: off, Size: 2})
		for _, p := range ports {
			b.when(uint32(p), "keep", "")
		}
	}
	b.jump("drop")
	if vxlan {
		b.label("udp6")
		b.add(bpf.LoadAbsolute{Off: 56, Size: 2})
		b.when(vxlanPort, "keep", "drop")
	}
	b.label("drop")
	b.add(bpf.RetConstant{Val: 0})
	b.label("keep")
	b.add(bpf.RetConstant{Val: keep})
	return bpf.Assemble(b.build())
}

// builder assembles a program with named jumps.
type builder struct {
	program []bpf.Instruction
	labels  map[string]int
	jumps   map[int][2]string // by index of the instruction: where to when true, when false
}

func (b *builder) add(i bpf.Instruction) { b.program = append(b.program, i) }

// when compares with the value that was loaded; an empty label goes on.
func (b *builder) when(value uint32, yes, no string) {
	if b.jumps == nil {
		b.jumps = map[int][2]string{}
	}
	b.jumps[len(b.program)] = [2]string{yes, no}
	b.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: value})
}

func (b *builder) jump(to string) {
	b.jumps[len(b.program)] = [2]string{to, to}
	b.add(bpf.Jump{})
}

func (b *builder) label(name string) {
	if b.labels == nil {
		b.labels = map[string]int{}
	}
	b.labels[name] = len(b.program)
}

func (b *builder) build() []bpf.Instruction {
	for at, to := range b.jumps {
		skip := func(label string) int {
			if label == "" {
				return 0
			}
			return b.labels[label] - at - 1
		}
		switch i := b.program[at].(type) {
		case bpf.JumpIf:
			i.SkipTrue, i.SkipFalse = uint8(skip(to[0])), uint8(skip(to[1]))
			b.program[at] = i
		case bpf.Jump:
			i.Skip = uint32(skip(to[0]))
			b.program[at] = i
		}
	}
	return b.program
}
