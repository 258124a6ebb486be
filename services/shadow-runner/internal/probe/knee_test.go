package probe_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

const seeds = 20

// laws are servers whose knee is known, with what runs out of each.
func laws() map[string]struct {
	server server
	limits probe.Limits
	want   probe.Resource
} {
	const mib = 1 << 20
	idle := func(w work) probe.Resources {
		return probe.Resources{CPUCores: 0.02 + 0.01*w.busy, MemoryBytes: 64 * mib}
	}
	type law = struct {
		server server
		limits probe.Limits
		want   probe.Resource
	}
	two := probe.Limits{CPUCores: 2, MemoryBytes: 512 * mib, NetworkBytes: 1e9}
	return map[string]law{
		"M/M/c of workers": {server{workers: 4, service: 20 * time.Millisecond, random: true, use: idle}, two, probe.Concurrency},
		"M/D/c of workers": {server{workers: 4, service: 25 * time.Millisecond, use: idle}, two, probe.Concurrency},
		"CPU-bound": {server{workers: 2, service: 10 * time.Millisecond, random: true, use: func(w work) probe.Resources {
			return probe.Resources{CPUCores: w.busy, MemoryBytes: 64 * mib}
		}}, two, probe.CPU},
		"memory-bound": {server{workers: 12, service: 100 * time.Millisecond, refuses: true, use: func(w work) probe.Resources {
			return probe.Resources{CPUCores: 0.2, MemoryBytes: uint64((64 + w.peak*448/12) * mib)}
		}}, two, probe.Memory},
		"connection-limited": {server{workers: 8, service: 30 * time.Millisecond, random: true, refuses: true, use: idle}, two, probe.Concurrency},
		"network-bound": {server{workers: 1, service: 5 * time.Millisecond, use: func(w work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, NetworkBytes: w.rate * 5e6}
		}}, two, probe.Network},
		"waits for something": {server{workers: 3, service: 15 * time.Millisecond, random: true, base: 20 * time.Millisecond, use: func(w work) probe.Resources {
			return probe.Resources{CPUCores: 0.1, MemoryBytes: 64 * mib, DownstreamSeconds: w.took.Seconds()}
		}}, two, probe.Downstream},
	}
}

// The measurement goes on until its interval is narrower than 5 %, in sessions of a few steps like the runner's.
func TestKneeOfKnownLaws(t *testing.T) {
	t.Parallel()
	for name, tc := range laws() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := tc.server.knee(slo)
			near, covered, square, steps := 0, 0, 0.0, 0
			for seed := range uint64(seeds) {
				rng := rand.New(rand.NewPCG(seed, 1))
				plan := probe.Plan{
					SLO: slo, Start: want * (0.2 + 2*rng.Float64()), MaxRate: 1e5, Precision: 0.05, MaxSteps: 20,
					Settle: 2 * time.Second, Hold: 10 * time.Second,
				}
				got, all := repeat(t, plan, func(l probe.Level) probe.Step { return tc.server.hold(rng, l, slo) })
				steps += len(all)
				off := got.Rate/want - 1
				square += off * off / seeds
				if math.Abs(off) <= 0.05 {
					near++
				}
				if got.Lower <= want && want <= got.Upper {
					covered++
				}
				if resource := probe.Bottleneck(all, got.Rate, tc.limits); resource != tc.want {
					t.Errorf("seed %d: bottleneck %v, want %v", seed, resource, tc.want)
				}
			}
			t.Logf("knee %.1f/s: %d of %d within 5 %%, off by %.4f (root mean square), %d steps each, interval covers %d", want, near, seeds, math.Sqrt(square), steps/seeds, covered)
			if near < 19 {
				t.Errorf("%d of %d within 5 %%", near, seeds)
			}
			if covered < 16 {
				t.Errorf("the interval covers the truth in %d of %d runs", covered, seeds)
			}
		})
	}
}

// repeat measures until the interval is narrow enough, each time going on from what is known.
func repeat(t *testing.T, plan probe.Plan, hold func(probe.Level) probe.Step) (probe.Knee, []probe.Step) {
	t.Helper()
	for range 20 {
		s := search(plan, hold)
		knee, err := s.Knee()
		if err != nil {
			t.Fatal(err)
		}
		if knee.Precise {
			if knee.Upper-knee.Lower > plan.Precision*knee.Rate {
				t.Errorf("interval [%.1f, %.1f] is not narrower than %.0f %%", knee.Lower, knee.Upper, plan.Precision*100)
			}
			return knee, s.Steps()
		}
		plan.Before = s.Steps()
	}
	t.Fatal("the interval never became narrow")
	return probe.Knee{}, nil
}
