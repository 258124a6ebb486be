//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// found is one run over real sockets.
type found struct {
	knee    probe.Knee
	named   foreshadowv1.Bottleneck
	steps   int
	invalid string
	took    time.Duration
}

// realKnees measures all laws of a seed at the same time, but for those that need a core for themselves.
func realKnees(ctx context.Context, o options, t *table) error {
	var cases []reference.RealCase
	for _, c := range reference.RealCases() {
		if o.law == "" || o.law == c.Name {
			cases = append(cases, c)
		}
	}
	results := make([][]found, len(cases))
	for i := range results {
		results[i] = make([]found, o.real)
	}
	for n := range o.real {
		for _, alone := range []bool{false, true} {
			g, gctx := errgroup.WithContext(ctx)
			for i, c := range cases {
				if c.Alone == alone {
					g.Go(func() (err error) {
						results[i][n], err = measureReal(gctx, c, o.first+uint64(n), o.budget)
						return err
					})
				}
			}
			if err := g.Wait(); err != nil {
				return err
			}
		}
	}
	near, runs := 0, 0
	for i, c := range cases {
		want := c.Real.Law.Knee(c.SLO)
		for n, f := range results[i] {
			name := fmt.Sprintf("knee, real sockets: %s, seed %d", c.Name, o.first+uint64(n))
			runs++
			if f.invalid != "" {
				t.check(false, name, "named right", "not valid: %s", f.invalid)
				continue
			}
			off := f.knee.Rate/want - 1
			if math.Abs(off) <= nearEnough {
				near++
			}
			t.check(f.named == wire[c.Bottleneck], name, fmt.Sprintf("%.0f/s, %v", want, label(wire[c.Bottleneck])), "%.0f/s (%+.1f %%) [%.0f, %.0f], %v, %d steps, %.0f s",
				f.knee.Rate, 100*off, f.knee.Lower, f.knee.Upper, label(f.named), f.steps, f.took.Seconds())
		}
	}
	t.check(float64(near) >= wantNear*float64(runs), "knees over real sockets within 5 %", "19 of 20", "%d of %d", near, runs)
	return nil
}

var wire = map[probe.Resource]foreshadowv1.Bottleneck{
	probe.CPU: foreshadowv1.Bottleneck_BOTTLENECK_CPU, probe.Memory: foreshadowv1.Bottleneck_BOTTLENECK_MEMORY,
	probe.Concurrency: foreshadowv1.Bottleneck_BOTTLENECK_CONCURRENCY,
}

func label(b foreshadowv1.Bottleneck) string { return b.String()[len("BOTTLENECK_"):] }

// measureReal goes on in sessions like the runner's until the interval is narrower than 5 % or the time is used up.
func measureReal(ctx context.Context, c reference.RealCase, seed uint64, budget time.Duration) (found, error) {
	server, err := start(ctx, "-role", "law", "-law", c.Name, "-first", strconv.FormatUint(seed, 10))
	if err != nil {
		return found{}, err
	}
	defer server.stop()
	idle, err := server.usage(ctx)
	if err != nil {
		return found{}, err
	}
	const timeout, inFlight = 5 * time.Second, 4000
	sender := client.New(client.Options{Timeout: timeout, MaxIdle: inFlight, Now: time.Now})
	defer sender.Close()
	rng := rand.New(rand.NewPCG(seed, 3))
	h := &measure.Holder{
		Sender: sender, Usage: server.usage, MaxInFlight: inFlight, Book: metric.NewBook("bench"), Wait: pace.Precise, Now: time.Now, Rand: rng,
	}
	mix, err := someMix()
	if err != nil {
		return found{}, err
	}
	order := measure.Order{
		Workload: "bench", Instance: platform.Instance{ID: strconv.Itoa(server.command.Process.Pid), Address: server.address},
		StillReady: func() bool { return true }, Mix: mix, TTL: time.Hour, Limits: probe.Limits{CPUCores: c.Cores},
		Plan: probe.Plan{
			SLO: c.SLO, Start: c.Real.Law.Knee(c.SLO) * (0.2 + rng.Float64()), MaxRate: 20_000, Precision: 0.05, MaxSteps: 4,
			Settle: c.Hold / 5, Hold: c.Hold,
		},
	}
	if c.Memory > 0 {
		order.Limits.MemoryBytes = idle[0].MemoryBytes + c.Memory
	}
	return sessions(ctx, h, order, budget)
}

func sessions(ctx context.Context, h *measure.Holder, order measure.Order, budget time.Duration) (f found, err error) {
	begin := time.Now()
	for {
		m, err := h.Capacity(ctx, order)
		if err != nil {
			return f, err
		}
		f = found{
			knee:  probe.Knee{Rate: m.GetRequestsPerSecond(), Lower: m.GetLowerRequestsPerSecond(), Upper: m.GetUpperRequestsPerSecond()},
			named: m.GetBottleneck(), steps: len(m.GetSteps()), invalid: m.GetInvalidReason(), took: time.Since(begin),
		}
		if m.GetPrecise() || time.Since(begin) > budget {
			return f, nil
		}
		if m.GetValid() {
			order.Plan.Before = measure.StepsFrom(m.GetSteps())
		}
	}
}

// someMix is of plain requests: what they are asked for does not matter to a law.
func someMix() (*reservoir.Mix, error) {
	var list []*captured.Request
	for i := range 8 {
		r, err := request(strconv.Itoa(i), "/items/"+strconv.Itoa(i), time.Now())
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return reservoir.NewMix(list), nil
}
