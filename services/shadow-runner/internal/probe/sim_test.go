package probe_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// server is a queue in virtual time: c workers with one queue, first come first served.
type server struct {
	workers int
	service time.Duration
	// random service times are exponential, others fixed.
	random bool
	// base is added to every latency and needs no worker.
	base time.Duration
	// refuses a request when no worker is free.
	refuses bool
	// use is what a level used of the instance.
	use func(work) probe.Resources
}

// work is what an instance did: the mean number of busy workers and the most at any full second, requests answered per second,
// and the mean time each took a worker, waiting for one included.
type work struct {
	busy, peak, rate float64
	took             time.Duration
}

// hold plays one step: a fixed number of requests at uniform moments, which is Poisson given its count.
func (s server) hold(rng *rand.Rand, l probe.Level, slo probe.SLO) probe.Step {
	end := l.Settle + l.Hold
	n := int(l.Rate*end.Seconds() + 0.5)
	dues := make([]time.Duration, n)
	for i := range dues {
		dues[i] = time.Duration(rng.Float64() * float64(end))
	}
	slices.Sort(dues)
	free := make([]time.Duration, s.workers)
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
		if s.refuses && free[first] > due {
			samples[i] = probe.Sample{Due: due, Latency: time.Millisecond, Failed: true}
			continue
		}
		at, need := max(due, free[first]), s.service
		if s.random {
			need = time.Duration(rng.ExpFloat64() * float64(s.service))
		}
		free[first] = at + need
		if at < end {
			busy += min(need, end-at)
		}
		calls += at + need - due
		samples[i] = probe.Sample{Due: due, Latency: at + need + s.base - due}
	}
	step := probe.Judge(samples, probe.Window{Start: l.Settle, End: end}, slo)
	if s.use != nil {
		step.Resources = s.use(work{busy.Seconds() / end.Seconds(), float64(peak), step.Completed * (1 - step.ErrorRatio), calls / time.Duration(max(n, 1))})
	}
	return step
}
