package reference

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Case is a law, and what an instance that behaves by it uses and runs out of.
type Case struct {
	Name   string
	Law    Law
	SLO    probe.SLO
	Limits probe.Limits
	// Runs out first.
	Bottleneck probe.Resource
	use        func(Work) probe.Resources
}

// SLO is that of Cases.
func SLO() probe.SLO { return within(0.95, 150*time.Millisecond) }

func within(quantile float64, latency time.Duration) probe.SLO {
	return probe.SLO{Quantile: quantile, Latency: latency, ErrorRatio: 0.01}
}

const mib = 1 << 20

var two = probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib, NetworkBytes: 1e9}

// idle is an instance whose resources are far from used up.
func idle(w Work) probe.Resources {
	return probe.Resources{CPUCores: 0.02 + 0.01*w.Busy, MemoryBytes: 64 * mib}
}

// Cases are measured in virtual time. The measuring was made while looking at them.
func Cases() []Case {
	return []Case{
		{"M/M/c of workers", Law{Workers: 4, Service: 20 * time.Millisecond, Random: true}, SLO(), two, probe.Concurrency, idle},
		{"M/D/c of workers", Law{Workers: 4, Service: 25 * time.Millisecond}, SLO(), two, probe.Concurrency, idle},
		{"CPU-bound", Law{Workers: 2, Service: 10 * time.Millisecond, Random: true}, SLO(), two, probe.CPU, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: w.Busy, MemoryBytes: 64 * mib}
		}},
		{"memory-bound", Law{Workers: 12, Service: 100 * time.Millisecond, Refuses: true}, SLO(), two, probe.Memory, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.2, MemoryBytes: uint64((64 + w.Peak*448/12) * mib)}
		}},
		{"connection-limited", Law{Workers: 8, Service: 30 * time.Millisecond, Random: true, Refuses: true}, SLO(), two, probe.Concurrency, idle},
		{"network-bound", Law{Workers: 1, Service: 5 * time.Millisecond}, SLO(), two, probe.Network, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, NetworkBytes: w.Answered * 5e6}
		}},
		{"waits for something", Law{Workers: 3, Service: 15 * time.Millisecond, Random: true, Base: 20 * time.Millisecond}, SLO(), two, probe.Downstream, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, DownstreamSeconds: w.Took.Seconds()}
		}},
	}
}

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

func waits(name string, l Law, slo probe.SLO) Case {
	return Case{name, l, slo, two, probe.Concurrency, idle}
}

// Others are laws, quantiles and latencies that the measuring was not made by at first, and that then showed what its interval left
// out: how few bursts a step holds where the SLO forgives one in a hundred, and how long a queue near its limit takes to become as
// long as it will be.
func Others() []Case {
	return []Case{
		waits("M/G/1, lognormal", Law{Workers: 1, Service: ms(12), Draw: lognormal(ms(12), 1)}, within(0.95, ms(180))),
		waits("M/G/6, lognormal, 99 %", Law{Workers: 6, Service: ms(30), Draw: lognormal(ms(30), 0.8)}, within(0.99, ms(300))),
		waits("M/G/2, Pareto", Law{Workers: 2, Service: ms(10), Draw: pareto(ms(10), 2.5)}, within(0.95, ms(120))),
		waits("M/G/8, two kinds", Law{Workers: 8, Service: ms(15), Draw: twoKinds(ms(6), ms(96), 0.1)}, within(0.95, ms(150))),
		waits("M/M/2, 90 %", Law{Workers: 2, Service: ms(25), Random: true}, within(0.90, ms(100))),
		waits("M/M/16, 99 %", Law{Workers: 16, Service: ms(40), Random: true}, within(0.99, ms(250))),
		waits("two cores, shared", Law{Workers: 2, Service: ms(8), Random: true, Shared: true}, within(0.95, ms(100))),
		waits("M/M/4 with pauses", Law{Workers: 4, Service: ms(15), Random: true, Pause: ms(60), Every: ms(2000)}, within(0.95, ms(90))),
	}
}

// Unseen are laws that nothing in the measuring was chosen by: they say what it is worth elsewhere. Once it is changed to do better on
// them, they belong to Others, and new ones here.
func Unseen() []Case {
	return []Case{
		waits("M/G/3, Erlang", Law{Workers: 3, Service: ms(20), Draw: erlang2(ms(20))}, within(0.95, ms(120))),
		waits("M/M/24, 99 %", Law{Workers: 24, Service: ms(50), Random: true}, within(0.99, ms(300))),
		waits("one core, shared, lognormal", Law{Workers: 1, Service: ms(6), Draw: lognormal(ms(6), 1.5), Shared: true}, within(0.95, ms(100))),
		waits("M/G/4, Weibull", Law{Workers: 4, Service: ms(10), Draw: weibull(ms(10), 0.6)}, within(0.95, ms(100))),
		waits("M/D/3 with pauses", Law{Workers: 3, Service: ms(20), Pause: ms(120), Every: ms(5000)}, within(0.95, ms(120))),
		waits("M/G/10, Pareto, 97.5 %", Law{Workers: 10, Service: ms(20), Draw: pareto(ms(20), 2.2)}, within(0.975, ms(200))),
		waits("M/M/1, 80 %", Law{Workers: 1, Service: ms(20), Random: true}, within(0.80, ms(120))),
		waits("M/G/5, two kinds, 99 %", Law{Workers: 5, Service: ms(10.35), Draw: twoKinds(ms(3), ms(150), 0.05)}, within(0.99, ms(400))),
	}
}

// lognormal service times, whose coefficient of variation is cv.
func lognormal(mean time.Duration, cv float64) func(*rand.Rand) time.Duration {
	variance := math.Log(1 + cv*cv)
	return func(rng *rand.Rand) time.Duration {
		return time.Duration(float64(mean) * math.Exp(math.Sqrt(variance)*rng.NormFloat64()-variance/2))
	}
}

// pareto service times exceed t with a probability that falls with the power alpha of t.
func pareto(mean time.Duration, alpha float64) func(*rand.Rand) time.Duration {
	least := float64(mean) * (alpha - 1) / alpha
	return func(rng *rand.Rand) time.Duration { return time.Duration(least * math.Pow(1-rng.Float64(), -1/alpha)) }
}

// weibull service times of a shape below 1 have a tail heavier than exponential ones.
func weibull(mean time.Duration, shape float64) func(*rand.Rand) time.Duration {
	scale := float64(mean) / math.Gamma(1+1/shape)
	return func(rng *rand.Rand) time.Duration { return time.Duration(scale * math.Pow(rng.ExpFloat64(), 1/shape)) }
}

// erlang2 service times are of two exponential halves.
func erlang2(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration {
		return time.Duration((rng.ExpFloat64() + rng.ExpFloat64()) / 2 * float64(mean))
	}
}

func twoKinds(cheap, dear time.Duration, share float64) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration {
		if rng.Float64() < share {
			return dear
		}
		return cheap
	}
}

// maxSessions of a measurement; what is not precise by then says so by its interval.
const maxSessions = 20

// Measure searches for the knee in virtual time, in sessions that go on from each other like the runner's, until the interval is
// narrower than 5 %. It begins at a rate that the seed chooses, between a fifth and 2.2 times the given one.
func (c Case) Measure(seed uint64, knee float64) (probe.Knee, []probe.Step, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	plan := probe.Plan{
		SLO: c.SLO, Start: knee * (0.2 + 2*rng.Float64()), MaxRate: 1e5, Precision: 0.05, MaxSteps: 20,
		Settle: 2 * time.Second, Hold: 10 * time.Second,
	}
	for session := 1; ; session++ {
		s := probe.NewSearch(plan)
		for level, more := s.Next(); more; level, more = s.Next() {
			step, work := c.Law.Hold(rng, level, plan.SLO)
			step.Resources = c.use(work)
			s.Record(step)
		}
		knee, err := s.Knee()
		if err != nil || knee.Precise || session == maxSessions {
			return knee, s.Steps(), err
		}
		plan.Before = s.Steps()
	}
}
