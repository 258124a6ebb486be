package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// samples holds one value per variant and round.
type samples map[string][]float64

func (s samples) add(name string, v float64) { s[name] = append(s[name], v) }

func (s samples) median(name string) float64 { return median(s[name]) }

// ratios are those to a base within the rounds.
func (s samples) ratios(name, base string) (out []float64) {
	for i, v := range s[name] {
		if b := s[base]; i < len(b) && b[i] > 0 {
			out = append(out, v/b[i])
		}
	}
	return out
}

// ratio is a ratio to a base with what is known of it: the median of the rounds, and its 95 % interval.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// ratio is zero when there is nothing to compare.
func (s samples) ratio(name, base string) ratio {
	sorted := s.ratios(name, base)
	if len(sorted) == 0 {
		return ratio{}
	}
	slices.Sort(sorted)
	// The ranks of the interval of a median, which needs no assumption about how values are spread: a value lies below the
	// median with probability one half, so that their number is binomial.
	n := float64(len(sorted))
	half := 1.96 * math.Sqrt(n) / 2
	low, high := int(math.Floor(n/2-half)), int(math.Ceil(n/2+half))
	return ratio{median(sorted), sorted[max(low, 0)], sorted[min(high, len(sorted)-1)]}
}

// latencies are those of every request, by variant and round.
type latencies map[string][][]float64

// p50 is the median of all requests.
func (l latencies) p50(name string) float64 { return median(slices.Concat(l[name]...)) }

// ratio is that of two medians, with the 95 % interval that drawing the rounds anew gives.
func (l latencies) ratio(name, base string) ratio {
	rounds := make([]int, len(l[base]))
	of := func(name string) float64 {
		var pooled []float64
		for _, i := range rounds {
			pooled = append(pooled, l[name][i]...)
		}
		return median(pooled)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	drawn := make([]float64, draws)
	for k := range drawn {
		for i := range rounds {
			rounds[i] = rng.IntN(len(rounds))
		}
		if to := of(base); to > 0 {
			drawn[k] = of(name) / to
		}
	}
	slices.Sort(drawn)
	return ratio{l.p50(name) / l.p50(base), drawn[draws*25/1000], drawn[draws*975/1000]}
}

// draws of the bootstrap.
const draws = 400

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
