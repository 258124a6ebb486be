package sample

import (
	"cmp"
	"slices"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// edges are the ranks between which latencies are told apart, closer together where p95 is looked for.
var edges = [...]float64{
	0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.915, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995,
}

const (
	bins = len(edges) + 1
	// unmeasured is the bin of requests without a latency.
	unmeasured = uint8(bins)
)

// cell counts what one session did in one stratum with latencies of one bin.
type cell struct {
	stratum uint32
	bin     uint8
	n       uint32
}

const (
	// heavySessions are drawn each in every replicate, and of the others lightSessions, which stand for the rest. Variance sits
	// in the few long sessions: on a synthetic trace with Pareto lengths, half-widths from a plain part of all sessions were a
	// quarter too small.
	heavySessions = 2048
	lightSessions = 4096
)

// population is what the sessions of a stretch of time did.
type population struct {
	// drawn are the sessions that replicates draw: the first heavy of them for themselves alone, each of the others for
	// 1/lightShare light ones. light is what these others add up to, rest what all light ones do.
	drawn      [][]cell
	heavy      int
	lightShare float64
	light      totals
	rest       totals
	// all is what all sessions add up to.
	all totals
	// latency of all requests, in seconds.
	latency *metric.Sketch
}

// totals are requests, possibly weighted, by stratum and by bin of latency, and their sums.
type totals struct {
	requests []float64
	total    float64
	bins     [bins]float64
	measured float64
}

func (t *totals) add(c cell, weight float64) {
	n := float64(c.n) * weight
	t.requests[c.stratum] += n
	t.total += n
	if c.bin != unmeasured {
		t.bins[c.bin] += n
		t.measured += n
	}
}

func (t *totals) merge(o *totals) {
	for h, n := range o.requests {
		t.requests[h] += n
	}
	for b, n := range o.bins {
		t.bins[b] += n
	}
	t.total += o.total
	t.measured += o.measured
}

func sum(sessions [][]cell, strata int, weight float64) totals {
	t := totals{requests: make([]float64, strata)}
	for _, cells := range sessions {
		for _, c := range cells {
			t.add(c, weight)
		}
	}
	return t
}

// newPopulation takes all heavy sessions and light ones, each of which stands for scale of them.
func newPopulation(heavy, light [][]cell, scale float64, strata int, latency *metric.Sketch) *population {
	slices.SortStableFunc(light, func(a, b []cell) int { return cmp.Compare(size(b), size(a)) })
	if scale == 1 {
		// All sessions are here, so that the longest can be told.
		n := min(len(light), max(0, heavySessions-len(heavy)))
		if len(light) <= heavySessions+lightSessions {
			n = len(light)
		}
		heavy, light = append(heavy, light[:n]...), light[n:]
	}
	p := &population{heavy: len(heavy), lightShare: 1 / scale, rest: sum(light, strata, scale), latency: latency}
	p.all = sum(heavy, strata, 1)
	p.all.merge(&p.rest)
	p.drawn = slices.Clone(heavy)
	// Every so many of the light ones, in the order of their size.
	step := (len(light) + lightSessions - 1) / lightSessions
	for i := 0; i < len(light); i += max(step, 1) {
		p.drawn = append(p.drawn, light[i])
	}
	if len(light) > 0 {
		p.lightShare *= float64(len(p.drawn)-p.heavy) / float64(len(light))
	}
	p.light = sum(p.drawn[p.heavy:], strata, 1)
	return p
}

func size(cells []cell) (n uint32) {
	for _, c := range cells {
		n += c.n
	}
	return n
}

// weight is how many sessions a drawn one stands for.
func (p *population) weight(i int) float64 {
	if i < p.heavy {
		return 1
	}
	return 1 / p.lightShare
}

// designEffect compares the variance of the Horvitz-Thompson total under sampling of sessions with that under sampling of
// requests, at equal rates.
func (p *population) designEffect(rates []float64) float64 {
	clustered, single := 0.0, 0.0
	for s, cells := range p.drawn {
		weight := p.weight(s)
		for i, a := range cells {
			n := float64(a.n)
			loss := 1/rates[a.stratum] - 1
			clustered += weight * n * n * loss
			single += weight * n * loss
			for _, b := range cells[i+1:] {
				// Samples are nested: both are in with the smaller of the two probabilities.
				clustered += weight * 2 * n * float64(b.n) * (1/max(rates[a.stratum], rates[b.stratum]) - 1)
			}
		}
	}
	if single == 0 {
		return 1
	}
	return clustered / single
}
