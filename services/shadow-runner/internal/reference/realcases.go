package reference

import (
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// RealCase is a server over real sockets, and what it is measured by.
type RealCase struct {
	Name string
	Real Real
	SLO  probe.SLO
	// Cores an instance may use, and its memory beyond what its process has when idle; 0 = not bounded.
	Cores  float64
	Memory uint64
	// Runs out first.
	Bottleneck probe.Resource
	// Alone: it needs a core of the machine for itself.
	Alone bool
	// Hold is how long a level is held.
	Hold time.Duration
}

// RealCases are quick: hundreds of requests a second, and SLOs that leave little room, so that queues forget soon and a run of
// half a minute says as much as one of ten minutes in virtual time.
func RealCases() []RealCase {
	const mib = 1 << 20
	slo := func(latency time.Duration) probe.SLO {
		return probe.SLO{Quantile: 0.95, Latency: latency, ErrorRatio: 0.01}
	}
	return []RealCase{
		{
			Name: "M/M/c of workers", Real: Real{Law: Law{Workers: 4, Service: 5 * time.Millisecond, Random: true}},
			SLO: slo(20 * time.Millisecond), Cores: 2, Bottleneck: probe.Concurrency, Hold: 1500 * time.Millisecond,
		},
		{
			Name: "M/D/c of workers", Real: Real{Law: Law{Workers: 4, Service: 7 * time.Millisecond}},
			SLO: slo(21 * time.Millisecond), Cores: 2, Bottleneck: probe.Concurrency, Hold: 1500 * time.Millisecond,
		},
		{
			Name: "memory-bound", Real: Real{Law: Law{Workers: 32, Service: 60 * time.Millisecond, Refuses: true}, HoldBytes: mib},
			SLO: slo(150 * time.Millisecond), Cores: 2, Memory: 32 * mib, Bottleneck: probe.Memory, Hold: 1500 * time.Millisecond,
		},
		{
			Name: "connection-limited", Real: Real{Law: Law{Workers: 48, Service: 60 * time.Millisecond, Random: true, Refuses: true}, Connections: true},
			SLO: slo(time.Second), Cores: 2, Bottleneck: probe.Concurrency, Hold: 1500 * time.Millisecond,
		},
		{
			Name: "CPU-bound", Real: Real{Law: Law{Workers: 1, Service: 4 * time.Millisecond, Random: true}, Burn: true},
			SLO: slo(40 * time.Millisecond), Cores: 1, Bottleneck: probe.CPU, Alone: true, Hold: 1500 * time.Millisecond,
		},
	}
}
