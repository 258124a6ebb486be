package reservoir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

// Mix is a set of requests that is drawn from in proportion to their weights. It is never changed.
type Mix struct {
	items  []*captured.Request // by stratum
	weight []float64           // running sum
}

// NewMix returns the mix of the given requests, whose order it does not keep; nil when there are none.
func NewMix(items []*captured.Request) *Mix {
	if len(items) == 0 {
		return nil
	}
	slices.SortStableFunc(items, func(a, b *captured.Request) int { return a.Stratum.Compare(b.Stratum) })
	m := &Mix{items: items, weight: make([]float64, len(items))}
	sum := 0.0
	for i, r := range items {
		sum += r.Weight
		m.weight[i] = sum
	}
	return m
}

// Draw returns n requests in random order. Their number per stratum is the stratum's share of n, to within one: a step of a
// hundred requests then holds the mix and not the luck of the draw. Sessions are not kept together.
func (m *Mix) Draw(rng *rand.Rand, n int) []*captured.Request {
	out := make([]*captured.Request, n)
	total := m.weight[len(m.weight)-1]
	offset := rng.Float64()
	for k := range out {
		at := (float64(k) + offset) / float64(n) * total
		i := sort.Search(len(m.weight), func(i int) bool { return m.weight[i] > at })
		out[k] = m.items[min(i, len(m.items)-1)]
	}
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Shares is the share of each stratum by weight, ordered by stratum.
func (m *Mix) Shares() []*foreshadowv1.StratumShare {
	total := m.weight[len(m.weight)-1]
	var out []*foreshadowv1.StratumShare
	for i, r := range m.items {
		if i == 0 || r.Stratum != m.items[i-1].Stratum {
			out = append(out, &foreshadowv1.StratumShare{Stratum: metric.StratumProto(r.Stratum)})
		}
		out[len(out)-1].Share += r.Weight / total
	}
	return out
}

// Requests is how many requests, drawn one by one, would know the shares as well as these do: their number divided by the
// design effect of whole sessions, whose requests resemble each other, and of weights (Kish, Survey Sampling, 1965). The
// standard errors of the shares are those of ratios over sessions, linearised.
func (m *Mix) Requests() float64 {
	type part struct {
		session string
		stratum traffic.Stratum
	}
	parts, sessions, strata := map[part]float64{}, map[string]float64{}, map[traffic.Stratum]float64{} // weights
	for i, r := range m.items {
		session := r.Session
		if session == "" {
			session = fmt.Sprint("#", i) // of nobody known: on its own
		}
		parts[part{session, r.Stratum}] += r.Weight
		sessions[session] += r.Weight
		strata[r.Stratum] += r.Weight
	}
	squares := 0.0
	for _, w := range sessions {
		squares += w * w
	}
	total := m.weight[len(m.weight)-1]
	variance := map[traffic.Stratum]float64{} // of a stratum's weight, times total squared
	for s, w := range strata {
		variance[s] = w / total * w / total * squares // as if every session had none of it
	}
	for p, w := range parts {
		expected := strata[p.stratum] / total * sessions[p.session]
		variance[p.stratum] += (w-expected)*(w-expected) - expected*expected
	}
	var single, attained float64 // standard errors of one request, and of these
	for s, w := range strata {
		single += math.Sqrt(w / total * (1 - w/total))
		attained += math.Sqrt(max(0, variance[s])) / total
	}
	if len(sessions) == 1 {
		return 1 // which says nothing of how sessions differ
	}
	if attained == 0 {
		return float64(len(m.items)) // all sessions are alike
	}
	return min(float64(len(m.items)), single*single/attained/attained)
}
