package scaling

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
)

// stateVersion changes when what is written down means something else than before. A field that is added needs no new version
// as long as its zero value is right for a state written without it; one that is not known is left out in reading.
const stateVersion = 1

// kept is a State as it is written down. Times are Unix nanoseconds, 0 the zero time.
type kept struct {
	Version  int        `json:"version"`
	At       int64      `json:"at,omitempty"`
	Needs    keptPeaks  `json:"needs,omitempty"`
	Reactive keptPeaks  `json:"reactive,omitempty"`
	HPA      keptHPA    `json:"hpa"`
	Rivals   keptRivals `json:"rivals"`
	Ebbs     []keptEbb  `json:"ebbs,omitempty"` // the last is that of the running span
	Outage   int64      `json:"outage,omitempty"`
	Ebbing   bool       `json:"ebbing,omitempty"`
	Lost     int64      `json:"lost,omitempty"`
	Indebted int64      `json:"indebted,omitempty"`
	Loads    *keptLoads `json:"loads,omitempty"`
	Move     keptMove   `json:"move"`
}

// keptPeaks are pairs of a time and a need.
type keptPeaks [][2]int64

type keptHPA struct {
	Holds  int          `json:"holds"`
	Fleet  [][2]int64   `json:"fleet,omitempty"` // when ordered, how many
	Seen   []keptGlance `json:"seen,omitempty"`
	Synced int64        `json:"synced,omitempty"`
	Memory hpa.History  `json:"memory"`
}

type keptGlance struct {
	At    int64   `json:"at"`
	Rate  float64 `json:"rate"`
	Ready int     `json:"ready"`
}

type keptEbb struct {
	From  int64   `json:"from"`
	Least float64 `json:"least"`
}

// keptRivals name the manner and the risk of each: what was learnt of others says nothing of these.
type keptRivals struct {
	At   int64       `json:"at,omitempty"`
	Seen float64     `json:"seen"`
	Real float64     `json:"real"`
	HPA  keptRival   `json:"hpa"`
	Own  []keptRival `json:"own"`

	Most   int     `json:"most,omitempty"`
	Beyond float64 `json:"beyond,omitempty"`
}

type keptRival struct {
	Rise     float64   `json:"rise,omitempty"`
	Calm     float64   `json:"calm,omitempty"`
	Risk     float64   `json:"risk,omitempty"`
	Holds    int       `json:"holds"`
	Needs    keptPeaks `json:"needs,omitempty"`
	Low      keptPeaks `json:"low,omitempty"`
	Spent    float64   `json:"spent"`
	Violated float64   `json:"violated"`
	Strained float64   `json:"strained"`
	Acted    float64   `json:"acted"`
}

// keptLoads leave out the empty bins.
type keptLoads struct {
	Since int64     `json:"since"`
	At    int64     `json:"at"`
	Bins  []keptBin `json:"bins"`
}

type keptBin struct {
	Bin    int     `json:"bin"`
	Weight float64 `json:"weight"`
	Sum    float64 `json:"sum"`
}

type keptMove struct {
	To    *Tried `json:"to,omitempty"`
	Since int64  `json:"since,omitempty"`
	Quiet int64  `json:"quiet,omitempty"`
}

// castagnoli is the checksum that stands before the state.
func castagnoli(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// MarshalBinary writes the state down, some ten kilobytes, for UnmarshalBinary of this or another release: four bytes of
// CRC-32C, then JSON. A state of which a number is not finite is an error.
func (s State) MarshalBinary() ([]byte, error) {
	k := kept{
		Version: stateVersion, At: nanos(s.at), Needs: s.needs.kept(), Reactive: s.reactive.kept(),
		HPA:    keptHPA{Holds: s.hpaHolds, Synced: nanos(s.hpaSynced), Memory: s.hpa},
		Rivals: s.rivals.kept(), Ebbs: s.ebbs.kept(), Outage: nanos(s.outage),
		Ebbing: s.ebbing, Lost: nanos(s.lost), Indebted: nanos(s.indebted), Loads: s.loads.kept(),
		Move: keptMove{To: s.move.to.finite(), Since: nanos(s.move.since), Quiet: nanos(s.move.quiet)},
	}
	for _, c := range s.hpaFleet {
		k.HPA.Fleet = append(k.HPA.Fleet, [2]int64{nanos(c.ordered), int64(c.count)})
	}
	for _, g := range s.hpaSeen {
		k.HPA.Seen = append(k.HPA.Seen, keptGlance{nanos(g.at), g.rate, g.ready})
	}
	body, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("write state down: %w", err)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, len(body)+4), castagnoli(body)), body...), nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (p peaks) kept() keptPeaks {
	var out keptPeaks
	for _, e := range p {
		out = append(out, [2]int64{nanos(e.at), int64(e.need)})
	}
	return out
}

func (v rivals) kept() keptRivals {
	k := keptRivals{At: nanos(v.at), Seen: v.seen, Real: v.real, HPA: v.hpa.kept(manner{}, 0), Most: v.most, Beyond: v.beyond}
	for m, row := range v.own {
		for i, r := range row {
			k.Own = append(k.Own, r.kept(manners[m], rivalRisks[i]))
		}
	}
	return k
}

func (e ebbs) kept() []keptEbb {
	if e.now.from.IsZero() {
		return nil
	}
	var out []keptEbb
	for _, p := range append(e.past[:len(e.past):len(e.past)], e.now) {
		out = append(out, keptEbb{nanos(p.from), p.least})
	}
	return out
}

func (r rival) kept(m manner, risk float64) keptRival {
	return keptRival{
		Rise: m.rise, Calm: m.calm, Risk: risk, Holds: r.holds, Needs: r.needs.kept(), Low: r.low.kept(),
		Spent: r.spent, Violated: r.violated, Strained: r.strained, Acted: r.acted,
	}
}

func (l *loads) kept() *keptLoads {
	if l == nil {
		return nil
	}
	k := &keptLoads{Since: nanos(l.since), At: nanos(l.at)}
	for i, b := range l.bins {
		if b.weight != 0 || b.sum != 0 {
			k.Bins = append(k.Bins, keptBin{i, b.weight, b.sum})
		}
	}
	return k
}

// finite is the configuration with what is not known of its capacity as zero, which means the same and can be written down.
func (t *Tried) finite() *Tried {
	if t == nil {
		return nil
	}
	out := *t
	for _, v := range []*float64{&out.Capacity.Lower, &out.Capacity.Upper, &out.Capacity.MixDrift, &out.Price, &out.CPUCores, &out.MemoryBytes, &out.Capacity.PerSecond} {
		if !known(*v) {
			*v = 0
		}
	}
	return &out
}
