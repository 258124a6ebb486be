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
	// Hold is how long a level is held.
	Hold time.Duration
}

// RealCases are quick: hundreds of requests a second, so that queues forget soon, and a minute says as much as ten in virtual time.
// Their SLOs are tens of milliseconds all the same, with many workers that take long: a request is on its way for half a
// millisecond on an idle machine, which is no part of the law, and must not matter much.
func RealCases() []RealCase {
	slo := func(latency time.Duration) probe.SLO { return within(0.95, latency) }
	const hold = 1500 * time.Millisecond
	return []RealCase{
		{
			Name: "M/M/c of workers", Real: Real{Law: Law{Workers: 8, Service: 10 * time.Millisecond, Random: true}},
			SLO: slo(36 * time.Millisecond), Cores: 2, Bottleneck: probe.Concurrency, Hold: hold,
		},
		{
			Name: "M/D/c of workers", Real: Real{Law: Law{Workers: 8, Service: 14 * time.Millisecond}},
			SLO: slo(42 * time.Millisecond), Cores: 2, Bottleneck: probe.Concurrency, Hold: hold,
		},
		{
			Name: "CPU-bound", Real: Real{Law: Law{Workers: 1, Service: 4 * time.Millisecond, Random: true}, Burn: true},
			SLO: slo(40 * time.Millisecond), Cores: 1, Bottleneck: probe.CPU, Hold: hold,
		},
		{
			Name: "memory-bound", Real: Real{Law: Law{Workers: 32, Service: 60 * time.Millisecond, Refuses: true}, HoldBytes: mib},
			SLO: slo(150 * time.Millisecond), Cores: 2, Memory: 32 * mib, Bottleneck: probe.Memory, Hold: hold,
		},
		{
			Name: "connection-limited", Real: Real{Law: Law{Workers: 48, Service: 60 * time.Millisecond, Random: true, Refuses: true}, Connections: true},
			SLO: slo(time.Second), Cores: 2, Bottleneck: probe.Concurrency, Hold: hold,
		},
	}
}
