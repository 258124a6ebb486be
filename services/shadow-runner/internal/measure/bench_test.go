package measure_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// BenchmarkKneeOfARealServer measures, over real sockets and in real time, a server of eight workers until the interval is
// narrower than 5 %, and reports how far it is from the knee of the law with the service times that the server really had.
// Run it with -benchtime 1x; it takes about a minute.
func BenchmarkKneeOfARealServer(b *testing.B) {
	const workers = 8
	slo := probe.SLO{Quantile: 0.95, Latency: 200 * time.Millisecond, ErrorRatio: 0.01}
	for range b.N {
		server := referencetest.New(b, workers, 40*time.Millisecond)
		h := newHolder(b, 5*time.Second)
		o := order(b, server.Address)
		o.Plan = probe.Plan{SLO: slo, Start: 120, MaxRate: 5000, Precision: 0.05, MaxSteps: 25, Settle: 500 * time.Millisecond, Hold: 2 * time.Second}
		begin := time.Now()
		got, err := h.Capacity(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		if !got.GetValid() {
			b.Fatalf("not valid: %s", got.GetInvalidReason())
		}
		want := simulatedKnee(server.ServiceTimes(), workers, slo)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(got.GetRequestsPerSecond(), "knee/s")
		b.ReportMetric(want, "law/s")
		b.ReportMetric(100*math.Abs(got.GetRequestsPerSecond()/want-1), "%-off")
		b.ReportMetric(100*(got.GetUpperRequestsPerSecond()-got.GetLowerRequestsPerSecond())/got.GetRequestsPerSecond(), "%-interval")
		b.ReportMetric(float64(len(got.GetSteps())), "steps")
		b.ReportMetric(time.Since(begin).Seconds(), "s")
	}
}

// simulatedKnee is the knee of workers with one queue, Poisson arrivals and the given service times drawn at random.
func simulatedKnee(times []time.Duration, workers int, slo probe.SLO) float64 {
	var sum time.Duration
	for _, d := range times {
		sum += d
	}
	top := float64(workers) * float64(len(times)) / sum.Seconds()
	low, high := 0.3*top, top
	for range 12 {
		rng := rand.New(rand.NewPCG(1, 1))
		rate, free, now := (low+high)/2, make([]time.Duration, workers), time.Duration(0)
		const n = 400_000
		late := 0
		for range n {
			now += time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
			slices.Sort(free)
			free[0] = max(free[0], now) + times[rng.IntN(len(times))]
			if free[0]-now > slo.Latency {
				late++
			}
		}
		if float64(late) > (1-slo.Quantile)*n {
			high = rate
		} else {
			low = rate
		}
	}
	return low
}
