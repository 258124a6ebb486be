package reference

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

const (
	// rounds of so many requests are simulated on either side of the knee, each with random numbers of its own that are the same at
	// all rates; where it lies is first seen from one. Of four millions in all, a knee that a formula knows is found within 0.3 %.
	rounds    = 32
	perRound  = 1 << 17
	warmingUp = perRound / 64
	side      = 0.02
)

// simulated is the knee of a law without a formula, at most top.
func (l Law) simulated(slo probe.SLO, top float64) float64 {
	forgiven := 1 - slo.Quantile
	about := solve(forgiven, top, func(lambda float64) float64 { return l.late(lambda, slo, 1) })
	low, high := about*(1-side), min(about*(1+side), top)
	below, above := l.late(low, slo, rounds), l.late(high, slo, rounds)
	// The log-odds are about straight over so short a way.
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	return low * math.Pow(high/low, (logit(forgiven)-logit(below))/(logit(above)-logit(below)))
}

// late is the share of requests that take longer than the SLO's latency.
func (l Law) late(lambda float64, slo probe.SLO, rounds int) float64 {
	late := 0
	dues := make([]time.Duration, perRound)
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		at := 0.0
		for i := range dues {
			at += rng.ExpFloat64() / lambda
			dues[i] = time.Duration(at * float64(time.Second))
		}
		for i, v := range l.serve(rng, dues) {
			if i >= warmingUp && v.leave-dues[i]+l.beside(rng) > slo.Latency {
				late++
			}
		}
	}
	return float64(late) / float64(rounds*(perRound-warmingUp))
}
