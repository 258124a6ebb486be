//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

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
	served  reference.Served
}

// realKnees measures one law after another: on two cores there is room for one server and the load generator.
func realKnees(ctx context.Context, o options, t *table) error {
	near, formula, runs := 0, 0, 0
	for _, c := range reference.RealCases() {
		if o.law != "" && o.law != c.Name {
			continue
		}
		for seed := o.first; seed < o.first+uint64(o.real); seed++ {
			f, err := measureReal(ctx, c, seed, o.budget)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", c.Name, seed, err)
			}
			runs++
			asServed, byFormula := tellReal(t, c, seed, f)
			near, formula = near+asServed, formula+byFormula
		}
	}
	t.check(float64(near) >= wantNear*float64(runs), "knees over real sockets within 5 %", "19 of 20", "%d of %d; of the formula %d of %d", near, runs, formula, runs)
	return nil
}

// tellReal adds a run to the table and returns 1 for each law, that which the server followed and that of the formula, whose knee was
// found.
func tellReal(t *table, c reference.RealCase, seed uint64, f found) (asServed, byFormula int) {
	name, formula := fmt.Sprintf("knee, real sockets: %s, seed %d", c.Name, seed), c.Real.Law.Knee(c.SLO)
	target := fmt.Sprintf("%.0f/s, %v", formula, label(wire[c.Bottleneck]))
	if f.invalid != "" {
		t.check(false, name, target, "not valid: %s", f.invalid)
		return 0, 0
	}
	served := f.served.Law(c.Real).Knee(c.SLO)
	of := func(want float64) (off float64, within int) {
		off = f.knee.Rate/want - 1
		if math.Abs(off) <= nearEnough {
			within = 1
		}
		return 100 * off, within
	}
	offServed, asServed := of(served)
	offFormula, byFormula := of(formula)
	t.check(f.named == wire[c.Bottleneck], name, target, "%.0f/s [%.0f, %.0f], %+.1f %%; %+.1f %% of the %.0f/s that it could serve, %.2f ms each and %.2f ms late; %v, %d steps, %.0f s",
		f.knee.Rate, f.knee.Lower, f.knee.Upper, offFormula, offServed, served, 1e3*f.served.MeanTook().Seconds(), 1e3*f.served.MeanLate().Seconds(), label(f.named), f.steps, f.took.Seconds())
	return asServed, byFormula
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
	if core, others := reference.Part(); c.Real.Burn && core >= 0 {
		if err := reference.Confine(others); err != nil {
			return found{}, err
		}
		defer func() { _ = reference.Confine(append(others, core)) }() // as before, so that it is allowed
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
		Left: func() (time.Time, bool) { return time.Time{}, false }, Mix: mix, TTL: time.Hour, Limits: probe.Limits{CPUCores: c.Cores},
		Plan: probe.Plan{
			SLO: c.SLO, Start: c.Real.Law.Knee(c.SLO) * (0.2 + rng.Float64()), MaxRate: 20_000, Precision: 0.05, MaxSteps: 4,
			Settle: c.Hold / 5, Hold: c.Hold,
		},
	}
	if c.Memory > 0 {
		order.Limits.MemoryBytes = idle[0].MemoryBytes + c.Memory
	}
	f, err := sessions(ctx, h, order, budget)
	if err != nil {
		return found{}, err
	}
	f.served, err = server.served()
	return f, err
}

// sessions keeps the last valid result, as the runner does.
func sessions(ctx context.Context, h *measure.Holder, order measure.Order, budget time.Duration) (f found, err error) {
	for begin := time.Now(); ; {
		m, err := h.Capacity(ctx, order)
		if err != nil {
			return f, err
		}
		switch {
		case m.GetValid():
			order.Plan.Before = measure.StepsFrom(m.GetSteps())
			f = found{
				knee:  probe.Knee{Rate: m.GetRequestsPerSecond(), Lower: m.GetLowerRequestsPerSecond(), Upper: m.GetUpperRequestsPerSecond()},
				named: m.GetBottleneck(), steps: len(m.GetSteps()),
			}
		case f.steps == 0:
			f.invalid = m.GetInvalidReason()
		}
		f.took = time.Since(begin)
		if m.GetPrecise() || f.took > budget {
			return f, nil
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
