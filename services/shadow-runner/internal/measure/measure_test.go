package measure_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHolder(t *testing.T, timeout time.Duration) *measure.Holder {
	t.Helper()
	c := client.New(client.Options{Timeout: timeout, MaxIdle: 1000, Now: time.Now})
	t.Cleanup(c.Close)
	return &measure.Holder{
		Sender: c, MaxInFlight: 1000, Book: metric.NewBook("shadow-runner/probe"), Wait: pace.Precise, Now: time.Now,
		Rand: rand.New(rand.NewPCG(1, 2)),
	}
}

func order(t *testing.T, address string) measure.Order {
	t.Helper()
	arrive := time.Now()
	mix := reservoir.NewMix([]*captured.Request{
		referencetest.Request(t, "a", "/", arrive), referencetest.Request(t, "b", "/items/1", arrive),
	})
	return measure.Order{
		Workload: "shop", Mix: mix, StillReady: func() bool { return true }, TTL: time.Hour,
		Instance: platform.Instance{
			ID: "s1", Address: address, Phase: platform.Ready, Version: "v1", StartTime: arrive.Add(-10 * time.Second), ReadyTime: arrive.Add(-6 * time.Second),
		},
		Plan: probe.Plan{
			SLO: probe.SLO{Quantile: 0.95, Latency: 100 * time.Millisecond, ErrorRatio: 0.01}, Start: 60, MaxRate: 1000, Precision: 0.05,
			MaxSteps: 7, Settle: 250 * time.Millisecond, Hold: time.Second,
		},
	}
}

// Four workers of 25 ms carry 160 requests/s at the very most, and 95 % of them within 100 ms up to 142.5/s (M/D/4, by
// simulation over 2,000 s with the server of package probe's tests).
func TestCapacityOfAServerWithAKnownLaw(t *testing.T) {
	t.Parallel()
	const want, top = 142.5, 160.0
	server := referencetest.New(t, 4, 25*time.Millisecond)
	h := newHolder(t, 5*time.Second)
	var got *foreshadowv1.CapacityMeasured
	for range 3 { // a machine that is too busy to generate the load says so, and then it is no test of the number
		var err error
		if got, err = h.Capacity(t.Context(), order(t, server.Address)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.GetInvalidReason(), "load generator") {
			break
		}
	}
	t.Logf("measured %.1f [%.1f, %.1f] requests/s in %d steps, %v", got.RequestsPerSecond, got.LowerRequestsPerSecond, got.UpperRequestsPerSecond, len(got.Steps), got.Steps)
	if !got.Valid || math.Abs(got.RequestsPerSecond/want-1) > 0.2 || got.LowerRequestsPerSecond > top {
		t.Errorf("got %v, want %v requests/s within 20 %%", got, want)
	}
	if math.Abs(got.StartupSeconds-4) > 1e-6 || got.Version != "v1" || len(got.Mix) != 2 || math.Abs(got.Mix[0].Share-0.5) > 1e-9 {
		t.Errorf("got start-up %v, version %q, mix %v", got.StartupSeconds, got.Version, got.Mix)
	}
	ledger := h.Book.Ledger()
	if !ledger.Balanced() || ledger.Pending != 0 || ledger.Passed != uint64(len(server.Seen())) {
		t.Errorf("ledger %+v, but the server saw %d", ledger, len(server.Seen()))
	}
}

func TestNoAnswerIsNoCapacity(t *testing.T) {
	t.Parallel()
	hung := referencetest.New(t, 1, 0)
	hung.Stall()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{"hung": hung.Address, "down": down} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHolder(t, 500*time.Millisecond)
			got, err := h.Capacity(t.Context(), order(t, address))
			if err != nil {
				t.Fatal(err)
			}
			if got.Valid || got.RequestsPerSecond != 0 || !strings.Contains(got.InvalidReason, "down or hangs") {
				t.Errorf("got %v, want it not valid and why", got)
			}
			if l := h.Book.Ledger(); !l.Balanced() || l.Pending != 0 || l.Dropped[measure.EarlyStop] == 0 {
				t.Errorf("ledger %+v, want an early stop", l)
			}
		})
	}
}

func TestAnInstanceThatLeavesIsNotMeasured(t *testing.T) {
	t.Parallel()
	o := order(t, referencetest.New(t, 100, time.Millisecond).Address)
	o.StillReady = func() bool { return false }
	got, err := newHolder(t, time.Second).Capacity(t.Context(), o)
	if err != nil || got.Valid || !strings.Contains(got.InvalidReason, "went away") || len(got.Steps) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCancelEndsAStepAndBalances(t *testing.T) {
	t.Parallel()
	server := referencetest.New(t, 100, time.Millisecond)
	h := newHolder(t, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	wait := h.Wait
	calls := 0
	h.Wait = func(ctx context.Context, due time.Time) error {
		if calls++; calls == 10 {
			cancel()
		}
		return wait(ctx, due)
	}
	got, err := h.Capacity(ctx, order(t, server.Address))
	if !errors.Is(err, context.Canceled) || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if l := h.Book.Ledger(); !l.Balanced() || l.Pending != 0 || l.Passed != 9 {
		t.Errorf("ledger %+v", l)
	}
}

func TestUsageBecomesCPUPerStep(t *testing.T) {
	t.Parallel()
	h := newHolder(t, time.Second)
	var reading platform.Usage
	h.Usage = func(context.Context) ([]platform.Usage, error) {
		reading = platform.Usage{Instance: "s1", Time: reading.Time.Add(2 * time.Second), CPUSeconds: reading.CPUSeconds + 1, MemoryBytes: 7 << 20}
		if reading.Time.Year() == 1 {
			reading.Time = time.Unix(1, 0)
		}
		return []platform.Usage{{Instance: "other"}, reading}, nil
	}
	o := order(t, referencetest.New(t, 100, time.Millisecond).Address)
	step, err := h.Hold(t.Context(), o.Instance, o.Mix, probe.Level{Rate: 50, Hold: 200 * time.Millisecond}, o.Plan.SLO)
	if err != nil || step.CPUCores != 0.5 || step.MemoryBytes != 7<<20 {
		t.Errorf("got %+v, %v, want half a core", step, err)
	}
	h.Usage = func(context.Context) ([]platform.Usage, error) { return nil, errors.New("away") }
	step, err = h.Hold(t.Context(), o.Instance, o.Mix, probe.Level{Rate: 50, Hold: 200 * time.Millisecond}, o.Plan.SLO)
	if err != nil || step.CPUCores != 0 || step.Requests != 10 {
		t.Errorf("got %+v, %v, want the step without resources", step, err)
	}
}
