package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// Reasons why a scheduled request of a measurement was not sent.
const (
	Overload  = "overload"   // too many in flight
	EarlyStop = "early_stop" // the level was already clearly broken
	Cancelled = "cancelled"  // the measurement ended
)

// Sender sends one request and waits for its end.
type Sender interface {
	Send(ctx context.Context, address string, r *captured.Request) client.Outcome
}

// Holder holds load levels on single instances.
type Holder struct {
	// Sender sends.
	Sender Sender
	// Usage reads what the instances of the shadow used; nil when the platform cannot say.
	Usage func(ctx context.Context) ([]platform.Usage, error)
	// Downstream reads what the instances called of other services; nil when nobody counts that.
	Downstream func() Calls
	// MaxInFlight bounds the requests in flight.
	MaxInFlight int
	// Book is the account of the scheduled requests.
	Book *metric.Book
	// Wait and Now are the clock.
	Wait pace.Wait
	Now  func() time.Time
	// Rand makes schedules and draws requests.
	Rand *rand.Rand
}

// clearlyBroken: a level is given up early once this many times the violations that the SLO's quantile forgives in the whole
// step have been seen. Levels near the knee never come near it, and those are the ones that count.
const clearlyBroken = 5

// flight is the fate of one request; it is written by its sender and read once done.
type flight struct {
	sample probe.Sample
	done   atomic.Bool
}

// Hold puts one level of load on the instance, waits until every request has come to its end, and judges. The error is
// ctx's; whatever the instance does is part of the judgement.
func (h *Holder) Hold(ctx context.Context, instance platform.Instance, mix *reservoir.Mix, level probe.Level, slo probe.SLO) (probe.Step, error) {
	return h.holdUntil(ctx, instance, mix, level, slo, func() (time.Time, bool) { return time.Time{}, false })
}

// Try is Hold of an instance that may go away meanwhile, which left says, and says whether it did, and when; zero when that is not
// known or no load's doing. One that has died is waited for to be missed by its platform; when it is not, it has come back or will be
// found to be silent.
func (h *Holder) Try(
	ctx context.Context, instance platform.Instance, mix *reservoir.Mix, level probe.Level, slo probe.SLO, left func() (time.Time, bool),
) (step probe.Step, at time.Time, gone bool, err error) {
	step, err = h.holdUntil(ctx, instance, mix, level, slo, func() (time.Time, bool) {
		at, gone = left() // once, so that a step is judged and recorded as of the same
		return at, gone
	})
	if err != nil || gone || !step.Sudden {
		return step, at, gone, err
	}
	if at, gone, err = h.AwaitLoss(ctx, left); !gone {
		at = h.Now()
	}
	return step, at, true, err
}

// holdUntil is Hold of an instance that may go away meanwhile: what was sent too late to be answered in time before it left is not
// judged, for that says nothing of the load.
func (h *Holder) holdUntil(ctx context.Context, instance platform.Instance, mix *reservoir.Mix, level probe.Level, slo probe.SLO, left func() (time.Time, bool)) (probe.Step, error) {
	s := h.newStep(instance.Address, mix, level, slo)
	meter := h.newMeter(ctx, instance.ID)
	s.begin = h.Now() // only now: asking the platform takes time, and the first requests would be late by it
	sent, err := s.run(ctx)
	used := meter.read(ctx)
	s.inFlight.Wait()
	if err != nil {
		return probe.Step{}, fmt.Errorf("hold %.2f requests/s: %w", level.Rate, err)
	}
	samples := make([]probe.Sample, sent)
	for i := range samples {
		samples[i] = s.flights[i].sample
	}
	var out probe.Step
	at, gone := left()
	lost := gone && !at.IsZero()
	if lost {
		out = probe.JudgeLost(samples, s.window, slo, at.Sub(s.begin))
	} else {
		out = probe.JudgeSilent(samples, s.window, slo)
	}
	if out.Requests > 0 && (lost || out.Sudden) {
		out.Offered = level.Rate // of the little that counts, chance makes another rate
	}
	out.Resources = used
	return out, nil
}

func (h *Holder) newStep(address string, mix *reservoir.Mix, level probe.Level, slo probe.SLO) *step {
	s := &step{
		h: h, address: address, slo: slo, dues: schedule(h.Rand, level),
		window: probe.Window{Start: level.Settle, End: level.Settle + level.Hold},
	}
	s.requests = mix.Draw(h.Rand, len(s.dues))
	s.flights = make([]flight, len(s.dues))
	h.Book.See(uint64(len(s.dues)))
	return s
}

// schedule places a fixed number of requests at uniform moments. That is a Poisson process given its count: it has the
// bursts of many independent clients, but every step of a rate offers exactly that rate.
func schedule(rng *rand.Rand, level probe.Level) []time.Duration {
	shape, sum := level.Shape, 0.0
	if len(shape) == 0 {
		shape = []float64{1}
	}
	for _, v := range shape {
		sum += v
	}
	rate := func(i int) float64 { return level.Rate * shape[i] * float64(len(shape)) / sum }
	dues := uniform(rng, int(rate(0)*level.Settle.Seconds()+0.5), level.Settle, 0)
	part, carry := level.Hold/time.Duration(len(shape)), 0.5
	for i := range shape {
		carry += rate(i) * part.Seconds()
		n := int(carry)
		carry -= float64(n) // or short parts would lose their fractions
		dues = append(dues, uniform(rng, n, part, level.Settle+time.Duration(i)*part)...)
	}
	return dues
}

func uniform(rng *rand.Rand, n int, length, from time.Duration) []time.Duration {
	dues := make([]time.Duration, n)
	for i := range dues {
		dues[i] = from + time.Duration(rng.Float64()*float64(length))
	}
	slices.Sort(dues)
	return dues
}

// step is one level while it is held.
type step struct {
	h        *Holder
	address  string
	slo      probe.SLO
	window   probe.Window
	begin    time.Time
	dues     []time.Duration
	requests []*captured.Request
	flights  []flight

	inFlight sync.WaitGroup
	open     atomic.Int64
	failures atomic.Int64 // inside the window and within the SLO's latency
	slow     int          // inside the window and not answered within the SLO's latency
	checked  int          // flights that were looked at for slow
}

// run sends the requests at their moments and returns how many of them came to be scheduled.
func (s *step) run(ctx context.Context) (sent int, err error) {
	for k, due := range s.dues {
		if err := s.h.Wait(ctx, s.begin.Add(due)); err != nil {
			s.h.Book.Drop(Cancelled, uint64(len(s.dues)-k))
			return k, err
		}
		elapsed := s.h.Now().Sub(s.begin)
		if s.broken(k, elapsed) {
			s.h.Book.Drop(EarlyStop, uint64(len(s.dues)-k))
			s.window.End = due
			return k, nil
		}
		s.send(ctx, k)
	}
	if err := s.h.Wait(ctx, s.begin.Add(s.window.End)); err != nil {
		return len(s.dues), err
	}
	return len(s.dues), nil
}

// broken reports whether the step cannot become good any more, by a wide margin.
func (s *step) broken(next int, elapsed time.Duration) bool {
	for ; s.checked < next && s.dues[s.checked]+s.slo.Latency < elapsed; s.checked++ {
		f := &s.flights[s.checked]
		late := !f.done.Load() || f.sample.Unanswered || f.sample.Latency > s.slo.Latency
		if late && s.dues[s.checked] >= s.window.Start {
			s.slow++
		}
	}
	inWindow := float64(len(s.dues)) * (s.window.End - s.window.Start).Seconds() / s.window.End.Seconds()
	limit := max(10, clearlyBroken*max(1-s.slo.Quantile, s.slo.ErrorRatio)*inWindow)
	return float64(s.slow)+float64(s.failures.Load()) > limit
}

func (s *step) send(ctx context.Context, k int) {
	f := &s.flights[k]
	f.sample.Due = s.dues[k]
	if s.open.Load() >= int64(s.h.MaxInFlight) {
		s.h.Book.Drop(Overload, 1)
		f.sample.Unanswered = true
		f.done.Store(true)
		return
	}
	s.h.Book.Pass(1)
	s.open.Add(1)
	s.inFlight.Go(func() {
		due := s.begin.Add(s.dues[k])
		f.sample.Lag = max(0, s.h.Now().Sub(due))
		out := s.h.Sender.Send(ctx, s.address, s.requests[k])
		f.sample.Latency = out.Done.Sub(due)
		f.sample.Failed = out.Failed()
		f.sample.Unanswered = errors.Is(out.Err, client.ErrTimeout) || errors.Is(out.Err, context.DeadlineExceeded)
		f.sample.Refused = out.Err != nil && !f.sample.Unanswered
		if f.sample.Failed && f.sample.Latency <= s.slo.Latency && f.sample.Due >= s.window.Start {
			s.failures.Add(1)
		}
		f.done.Store(true)
		s.open.Add(-1)
	})
}
