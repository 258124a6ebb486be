package probe_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// server is the M/D/c law: c workers, fixed service time, one queue.
type server struct {
	workers int
	service time.Duration
}

type freeTimes []time.Duration

func (f freeTimes) Len() int           { return len(f) }
func (f freeTimes) Less(i, j int) bool { return f[i] < f[j] }
func (f freeTimes) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *freeTimes) Push(x any)        { *f = append(*f, x.(time.Duration)) }
func (f *freeTimes) Pop() any          { old := *f; x := old[len(old)-1]; *f = old[:len(old)-1]; return x }

// hold plays one step: a fixed number of requests at uniform moments, which is Poisson given its count.
func (s server) hold(rng *rand.Rand, rate float64, settle, length time.Duration) []probe.Sample {
	end := settle + length
	n := int(rate*end.Seconds() + 0.5)
	dues := make([]time.Duration, n)
	for i := range dues {
		dues[i] = time.Duration(rng.Float64() * float64(end))
	}
	slices.Sort(dues)
	free := make(freeTimes, s.workers)
	samples := make([]probe.Sample, n)
	for i, due := range dues {
		at := max(due, free[0])
		free[0] = at + s.service
		heap.Fix(&free, 0)
		samples[i] = probe.Sample{Due: due, Latency: at + s.service - due}
	}
	return samples
}

// knee is the true one, from a run long enough that its noise does not matter.
func (s server) knee(slo probe.SLO) float64 {
	lo, hi := 0.3, 1.0
	top := float64(s.workers) / s.service.Seconds()
	for range 9 {
		mid := (lo + hi) / 2
		const long = 600 * time.Second
		samples := s.hold(rand.New(rand.NewPCG(7, 7)), mid*top, 20*time.Second, long)
		step := probe.Judge(samples, probe.Window{Start: 20 * time.Second, End: 20*time.Second + long}, slo)
		if step.Latency <= slo.Latency.Seconds() {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo * top
}
