package reference

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Case is a law, and what an instance that behaves by it uses and runs out of.
type Case struct {
	Name   string
	Law    Law
	Limits probe.Limits
	// Runs out first.
	Bottleneck probe.Resource
	use        func(Work) probe.Resources
}

// SLO is that of the cases.
func SLO() probe.SLO {
	return probe.SLO{Quantile: 0.95, Latency: 150 * time.Millisecond, ErrorRatio: 0.01}
}

// Cases are measured in virtual time.
func Cases() []Case {
	const mib = 1 << 20
	idle := func(w Work) probe.Resources {
		return probe.Resources{CPUCores: 0.02 + 0.01*w.Busy, MemoryBytes: 64 * mib}
	}
	two := probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib, NetworkBytes: 1e9}
	return []Case{
		{"M/M/c of workers", Law{Workers: 4, Service: 20 * time.Millisecond, Random: true}, two, probe.Concurrency, idle},
		{"M/D/c of workers", Law{Workers: 4, Service: 25 * time.Millisecond}, two, probe.Concurrency, idle},
		{"CPU-bound", Law{Workers: 2, Service: 10 * time.Millisecond, Random: true}, two, probe.CPU, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: w.Busy, MemoryBytes: 64 * mib}
		}},
		{"memory-bound", Law{Workers: 12, Service: 100 * time.Millisecond, Refuses: true}, two, probe.Memory, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.2, MemoryBytes: uint64((64 + w.Peak*448/12) * mib)}
		}},
		{"connection-limited", Law{Workers: 8, Service: 30 * time.Millisecond, Random: true, Refuses: true}, two, probe.Concurrency, idle},
		{"network-bound", Law{Workers: 1, Service: 5 * time.Millisecond}, two, probe.Network, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, NetworkBytes: w.Answered * 5e6}
		}},
		{"waits for something", Law{Workers: 3, Service: 15 * time.Millisecond, Random: true, Base: 20 * time.Millisecond}, two, probe.Downstream, func(w Work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, DownstreamSeconds: w.Took.Seconds()}
		}},
	}
}

// maxSessions of a measurement; one that needs more never ends.
const maxSessions = 20

// Measure searches for the knee in virtual time, in sessions that go on from each other like the runner's, until the interval is
// narrower than 5 %. It begins at a rate that the seed chooses, between a fifth and 2.2 times the knee.
func (c Case) Measure(seed uint64) (probe.Knee, []probe.Step, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	plan := probe.Plan{
		SLO: SLO(), Start: c.Law.Knee(SLO()) * (0.2 + 2*rng.Float64()), MaxRate: 1e5, Precision: 0.05, MaxSteps: 20,
		Settle: 2 * time.Second, Hold: 10 * time.Second,
	}
	for range maxSessions {
		s := probe.NewSearch(plan)
		for level, more := s.Next(); more; level, more = s.Next() {
			step, work := c.Law.Hold(rng, level, plan.SLO)
			step.Resources = c.use(work)
			s.Record(step)
		}
		knee, err := s.Knee()
		if err != nil || knee.Precise {
			return knee, s.Steps(), err
		}
		plan.Before = s.Steps()
	}
	return probe.Knee{}, nil, errors.New("the interval never became narrow")
}
