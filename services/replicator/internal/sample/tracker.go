package sample

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
)

const (
	// maxCells bounds what is kept of one pane, some 50 bytes each: beyond it fewer sessions are looked at. maxHeldCells bounds
	// what is kept of long sessions besides; beyond it they have to be longer to count as long.
	maxCells     = 1 << 14
	maxHeldCells = 1 << 16
	// longSession is the number of requests in a pane from which a session is long, to begin with. One that is not looked at
	// is noticed by holding on to one request in holdOneIn (sample and hold, Estan and Varghese 2002).
	longSession = 64
	holdOneIn   = 32
	// firstEdges is how many latencies must have been seen before they are told apart.
	firstEdges = 200
)

// Seen is a request that might have been copied, once it has ended.
type Seen struct {
	// Draw is its session's place.
	Draw    traffic.Draw
	Stratum traffic.Stratum
	// Base is the rate of its stratum as configured.
	Base float64
	// Bytes of the request.
	Bytes int64
	// Seconds is its latency; negative when not known.
	Seconds float64
}

// tracker keeps what each session did, in panes that together make the span. It is not safe for concurrent use.
type tracker struct {
	panes []*pane // oldest first; the last one is filled
	keep  int
	// limits are the latencies at the edges; nil until enough were seen.
	limits *[len(edges)]float64
}

type cellKey struct {
	session uint64
	stratum uint32
	bin     uint8
}

// pane is a stretch of time.
type pane struct {
	index   map[traffic.Stratum]uint32
	strata  []traffic.Stratum
	base    []float64
	cells   map[cellKey]uint32
	latency metric.Sketch
	// below is the place, in an order independent of the sample's, above which sessions are looked at only when held.
	below uint64
	// held sessions are, or may turn out to be, long; long is the length from which they are.
	held map[uint64]bool
	long uint32
	// heldCells and otherCells count cells; passed counts the requests of sessions that were not looked at.
	heldCells, otherCells int
	passed                uint64
}

func newPane() *pane {
	return &pane{index: map[traffic.Stratum]uint32{}, cells: map[cellKey]uint32{}, held: map[uint64]bool{}, long: longSession, below: math.MaxUint64}
}

func newTracker(panes int) *tracker { return &tracker{panes: []*pane{newPane()}, keep: max(panes, 1)} }

// see counts a request.
func (t *tracker) see(s Seen) {
	p := t.panes[len(t.panes)-1]
	st, known := p.index[s.Stratum]
	if !known {
		st = uint32(len(p.strata))
		p.index[s.Stratum] = st
		p.strata, p.base = append(p.strata, s.Stratum), append(p.base, s.Base)
	}
	p.base[st] = s.Base
	bin := unmeasured
	if s.Seconds >= 0 {
		p.latency.Add(s.Seconds)
		bin = t.bin(s.Seconds)
	}
	if p.looksAt(uint64(s.Draw)) {
		p.count(cellKey{uint64(s.Draw), st, bin})
	}
}

func (p *pane) looksAt(session uint64) bool {
	if scramble(session) <= p.below || p.held[session] {
		return true
	}
	p.passed++
	if scramble(p.passed)%holdOneIn != 0 {
		return false
	}
	p.held[session] = true
	return true
}

func (p *pane) count(k cellKey) {
	n, known := p.cells[k]
	p.cells[k] = n + 1
	if known {
		return
	}
	if p.held[k.session] {
		p.heldCells++
	} else {
		p.otherCells++
	}
	if p.heldCells > maxHeldCells || p.otherCells > maxCells {
		p.thin()
	}
}

func (t *tracker) bin(seconds float64) uint8 {
	if t.limits == nil {
		p := t.panes[len(t.panes)-1]
		if p.latency.Count() < firstEdges {
			return unmeasured
		}
		t.learnEdges(&p.latency)
	}
	low, high := 0, len(edges)
	for low < high {
		if mid := (low + high) / 2; seconds > t.limits[mid] {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return uint8(low)
}

func (t *tracker) learnEdges(latency *metric.Sketch) {
	t.limits = &[len(edges)]float64{}
	for i, rank := range edges {
		// A sketch answers with the middle of a bucket; all values of the bucket are to be below.
		t.limits[i] = latency.Quantile(rank) * (1 + metric.Accuracy)
	}
}

// thin makes room: it halves the sessions that are looked at, or asks long ones to be longer.
func (p *pane) thin() {
	sizes := p.sizes()
	if p.otherCells > maxCells {
		p.below /= 2
	}
	if p.heldCells > maxHeldCells {
		p.long *= 2
	}
	clear(p.held)
	p.heldCells, p.otherCells = 0, 0
	for k := range p.cells {
		// A held session may still grow, and gets the benefit of the doubt.
		switch {
		case p.below < math.MaxUint64 && sizes[k.session] >= p.long/2:
			p.held[k.session] = true
			p.heldCells++
		case scramble(k.session) <= p.below:
			p.otherCells++
		default:
			delete(p.cells, k)
		}
	}
}

// sizes is the number of requests of each session.
func (p *pane) sizes() map[uint64]uint32 {
	sizes := map[uint64]uint32{}
	for k, n := range p.cells {
		sizes[k.session] += n
	}
	return sizes
}

// seal ends the pane that is filled, and returns those that make the span, none of which changes any more.
func (t *tracker) seal() []*pane {
	panes := slices.Clone(t.panes)
	t.rotate()
	return panes
}

// rotate ends the pane that is filled.
func (t *tracker) rotate() {
	if last := t.panes[len(t.panes)-1]; last.latency.Count() >= firstEdges {
		t.learnEdges(&last.latency)
	}
	t.panes = append(t.panes, newPane())
	if extra := len(t.panes) - t.keep; extra > 0 {
		t.panes = t.panes[extra:]
	}
}

// span puts panes together: the population, the strata by their number in it, and their configured rates.
func span(panes []*pane) (*population, []traffic.Stratum, []float64) {
	index, below := map[traffic.Stratum]uint32{}, uint64(math.MaxUint64)
	var strata []traffic.Stratum
	var base []float64
	latency := &metric.Sketch{}
	long := map[uint64]bool{}
	for _, p := range panes {
		below = min(below, p.below)
		latency.Merge(&p.latency)
		for session, n := range p.sizes() {
			if n >= p.long {
				long[session] = true
			}
		}
	}
	merged := map[cellKey]uint32{}
	for _, p := range panes {
		number := make([]uint32, len(p.strata))
		for i, st := range p.strata {
			n, known := index[st]
			if !known {
				n = uint32(len(strata))
				index[st] = n
				strata, base = append(strata, st), append(base, 0)
			}
			number[i], base[n] = n, p.base[i]
		}
		for k, n := range p.cells {
			if scramble(k.session) <= below || long[k.session] {
				merged[cellKey{k.session, number[k.stratum], k.bin}] += n
			}
		}
	}
	heavy, light := group(merged, long)
	return newPopulation(heavy, light, math.MaxUint64/float64(below), len(strata), latency), strata, base
}

// group puts the cells of each session together, in the order of the sessions' places: equal traffic gives equal figures.
func group(cells map[cellKey]uint32, long map[uint64]bool) (heavy, light [][]cell) {
	keys := slices.SortedFunc(maps.Keys(cells), func(a, b cellKey) int {
		return cmp.Or(cmp.Compare(a.session, b.session), cmp.Compare(a.stratum, b.stratum), cmp.Compare(a.bin, b.bin))
	})
	for i := 0; i < len(keys); {
		session := keys[i].session
		var of []cell
		for ; i < len(keys) && keys[i].session == session; i++ {
			of = append(of, cell{stratum: keys[i].stratum, bin: keys[i].bin, n: cells[keys[i]]})
		}
		if long[session] {
			heavy = append(heavy, of)
		} else {
			light = append(light, of)
		}
	}
	return heavy, light
}

// scramble gives a place in an order that has nothing to do with the sample's: a part of the sessions chosen by it has the
// same share of copies. It is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
