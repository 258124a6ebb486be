package reference

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Law is c workers with one queue, first come first served.
type Law struct {
	// Workers serve one request each.
	Workers int
	// Service is the mean time of a request at a worker.
	Service time.Duration
	// Random service times are exponential, others fixed.
	Random bool
	// Base is added to every latency and needs no worker.
	Base time.Duration
	// Refuses a request when no worker is free.
	Refuses bool
}

// Work is what a server did in a step.
type Work struct {
	// Busy is the mean number of busy workers, Peak the most at any full second.
	Busy, Peak float64
	// Answered requests per second, without those refused.
	Answered float64
	// Took is the mean time a request took a worker, waiting for one included.
	Took time.Duration
}

// Hold plays one step in virtual time: a fixed number of requests at uniform moments, which is Poisson given its count. What it
// used of an instance is for the caller to say.
func (l Law) Hold(rng *rand.Rand, level probe.Level, slo probe.SLO) (probe.Step, Work) {
	end := level.Settle + level.Hold
	n := int(level.Rate*end.Seconds() + 0.5)
	dues := make([]time.Duration, n)
	for i := range dues {
		dues[i] = time.Duration(rng.Float64() * float64(end))
	}
	slices.Sort(dues)
	free := make([]time.Duration, l.Workers)
	samples := make([]probe.Sample, n)
	var busy, calls, second time.Duration
	peak := 0
	for i, due := range dues {
		first, now := 0, 0
		for w := range free {
			if free[w] < free[first] {
				first = w
			}
			if free[w] > due {
				now++
			}
		}
		if due > second { // when a meter would look
			peak, second = max(peak, now), due.Truncate(time.Second)+time.Second
		}
		if l.Refuses && free[first] > due {
			samples[i] = probe.Sample{Due: due, Latency: time.Millisecond, Failed: true}
			continue
		}
		at, need := max(due, free[first]), l.Service
		if l.Random {
			need = time.Duration(rng.ExpFloat64() * float64(l.Service))
		}
		free[first] = at + need
		if at < end {
			busy += min(need, end-at)
		}
		calls += at + need - due
		samples[i] = probe.Sample{Due: due, Latency: at + need + l.Base - due}
	}
	step := probe.Judge(samples, probe.Window{Start: level.Settle, End: end}, slo)
	return step, Work{busy.Seconds() / end.Seconds(), float64(peak), step.Completed * (1 - step.ErrorRatio), calls / time.Duration(max(n, 1))}
}
