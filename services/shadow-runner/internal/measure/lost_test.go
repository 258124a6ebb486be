package measure_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

// frail is a platform with one instance that does one request at a time, and works off also what nobody waits for any more. The
// instance is lost when its queue was long at two looks in a row, and another takes its place a while later. In virtual time.
type frail struct {
	timeout time.Duration // of a request
	hangs   bool          // for good, when its queue is long
	looks   int           // at which the queue must have been long

	mu       sync.Mutex
	idle     time.Time // when the queue is worked off
	missed   int
	left     time.Time
	gone     chan struct{} // closed when the instance goes
	lost     int
	requests int
}

const (
	frailService = 20 * time.Millisecond // at most 50 requests/s
	frailQueue   = 500 * time.Millisecond
	frailStart   = 3 * time.Second
)

func newFrail() *frail { return &frail{timeout: 2 * time.Second, looks: 2, gone: make(chan struct{})} }

// check is the platform's loop.
func (f *frail) check(ctx context.Context) {
	for pace.Timer(ctx, time.Now().Add(frailQueue)) == nil {
		f.mu.Lock()
		if f.missed++; time.Until(f.idle) < frailQueue {
			f.missed = 0
		}
		if f.missed == f.looks {
			f.leave()
		}
		f.mu.Unlock()
	}
}

// leave is called with mu held.
func (f *frail) leave() {
	if f.left.IsZero() {
		f.left = time.Now()
		f.lost++
		close(f.gone)
	}
}

func (f *frail) Send(context.Context, string, *captured.Request) client.Outcome {
	f.mu.Lock()
	if f.requests++; !f.left.IsZero() {
		f.mu.Unlock()
		return client.Outcome{Done: time.Now(), Err: errors.New("refused")}
	}
	f.idle = f.idle.Add(max(0, time.Since(f.idle))).Add(frailService)
	if f.hangs && time.Until(f.idle) >= frailQueue {
		f.idle = time.Now().Add(time.Hour)
	}
	done, gone := time.After(time.Until(f.idle)), f.gone
	f.mu.Unlock()
	select {
	case <-done:
		return client.Outcome{Done: time.Now(), Status: 200}
	case <-time.After(f.timeout):
		return client.Outcome{Done: time.Now(), Err: client.ErrTimeout}
	case <-gone:
		return client.Outcome{Done: time.Now(), Err: errors.New("reset")}
	}
}

func (f *frail) Left() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left, !f.left.IsZero()
}

func (f *frail) Replace(context.Context) (platform.Instance, bool) {
	time.Sleep(frailStart)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle, f.missed, f.left, f.gone = time.Time{}, 0, time.Time{}, make(chan struct{})
	return platform.Instance{ID: "next", Version: "v1"}, true
}

// measureFrail runs sessions as the runner does, until body has seen enough.
func measureFrail(t *testing.T, seed uint64, body func(t *testing.T, f *frail, h *measure.Holder, o measure.Order)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFrail()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.check(ctx)
		h := newHolder(t, time.Second)
		h.Sender, h.Wait, h.Rand = f, pace.Timer, rand.New(rand.NewPCG(seed, 1))
		o := order(t, "virtual")
		o.Left, o.Replace = f.Left, f.Replace
		o.Plan.Start, o.Plan.Settle, o.Plan.Hold, o.Plan.MaxSteps = 15, time.Second, 8*time.Second, 8
		body(t, f, h, o)
		if l := h.Book.Ledger(); !l.Balanced() || l.Pending != 0 {
			t.Errorf("seed %d: ledger %+v", seed, l)
		}
	})
}

func lostAt(m *foreshadowv1.CapacityMeasured) (rates []float64) {
	for _, s := range m.GetSteps() {
		if s.GetBroken() == probe.BrokenLost {
			rates = append(rates, s.GetOfferedPerSecond())
		}
	}
	return rates
}

// A level under which the instance is lost is one that it does not carry: the capacity is stated from the others, and neither this
// measurement nor the one that goes on from it tries anything near that level again.
func TestALevelThatAnInstanceIsLostOfIsNotCarried(t *testing.T) {
	t.Parallel()
	losses := 0
	for seed := range uint64(10) {
		measureFrail(t, seed, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
			o.Plan.Start *= 1 + float64(seed)/5
			first, err := h.Capacity(t.Context(), o)
			if err != nil || !first.GetValid() {
				t.Fatalf("seed %d: %v, %v", seed, first, err)
			}
			lost := f.lost
			losses += lost
			checkLost(t, seed, first, lost)
			o.Plan.Before, o.Plan.Start = measure.StepsFrom(first.GetSteps()), 0.8*first.GetRequestsPerSecond()
			second, err := h.Capacity(t.Context(), o)
			if err != nil || !second.GetValid() || f.lost > 2 || lost > 0 && f.lost > lost {
				t.Errorf("seed %d: %d instances were lost at first, %d in all; %v, %v", seed, lost, f.lost, second, err)
			}
			checkLost(t, seed, second, f.lost)
		})
	}
	if losses == 0 {
		t.Error("no instance was lost: nothing was tested")
	}
	t.Logf("%d instances lost", losses)
}

func checkLost(t *testing.T, seed uint64, m *foreshadowv1.CapacityMeasured, lost int) {
	t.Helper()
	want := reference.Law{Workers: 1, Service: frailService}.Knee(probe.SLO{Quantile: 0.95, Latency: 100 * time.Millisecond, ErrorRatio: 0.01})
	if got := m.GetRequestsPerSecond(); math.Abs(got/want-1) > 0.25 {
		t.Errorf("seed %d: %.1f requests/s [%.1f, %.1f], want %.1f", seed, got, m.GetLowerRequestsPerSecond(), m.GetUpperRequestsPerSecond(), want)
	}
	rates := lostAt(m)
	if len(rates) != lost {
		t.Errorf("seed %d: %d instances were lost, at %v", seed, lost, rates)
	}
	ceiling := math.Inf(1)
	for _, s := range m.GetSteps() {
		if s.GetOfferedPerSecond() > ceiling {
			t.Errorf("seed %d: %.1f requests/s were tried after an instance was lost of %v", seed, s.GetOfferedPerSecond(), rates)
		}
		if s.GetBroken() == probe.BrokenLost {
			ceiling = 0.95 * s.GetOfferedPerSecond() // what is offered is not quite what was planned
		}
	}
}

// A machine so small that the generator lags whenever the instance has too much: the measurement ends all the same, with what is
// carried for certain.
func TestALossWhileTheGeneratorLagsEndsTheSearchBelowIt(t *testing.T) {
	t.Parallel()
	for name, lags := range map[string]time.Duration{"before the instance has too much": 0, "after that": frailQueue} {
		for seed := range uint64(4) {
			measureFrail(t, seed, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
				h.Wait = func(ctx context.Context, due time.Time) error {
					f.mu.Lock()
					if time.Until(f.idle) > lags+5*frailService {
						due = due.Add(50 * time.Millisecond)
					}
					f.mu.Unlock()
					return pace.Timer(ctx, due)
				}
				o.Plan.Start = 35 // then 70, which is too much
				got, err := h.Capacity(t.Context(), o)
				if err != nil || !got.GetValid() || f.lost == 0 || f.lost > 3 || got.GetRequestsPerSecond() < 30 || got.GetRequestsPerSecond() > 50 {
					t.Errorf("%s, seed %d: %d lost, %v, %v", name, seed, f.lost, got, err)
				}
				lost := f.lost
				o.Plan.Before = measure.StepsFrom(got.GetSteps())
				if _, err := h.Capacity(t.Context(), o); err != nil || f.lost > lost {
					t.Errorf("%s, seed %d: %d lost at first, %d in all, %v", name, seed, lost, f.lost, err)
				}
			})
		}
	}
}

// A platform is patient with an instance that answers no check. One that hangs of a load is not taken for one that hangs at any.
func TestAnInstanceThatHangsOfALoadIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]float64{"at first": 90, "later": 35} {
		measureFrail(t, 1, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
			f.hangs, f.looks, o.Plan.Start = true, int(33*time.Second/frailQueue), start
			got, err := h.Capacity(t.Context(), o)
			if err != nil || !got.GetValid() || f.lost == 0 || got.GetRequestsPerSecond() > 50 || len(lostAt(got)) != f.lost {
				t.Errorf("%s: %d lost, %v, %v", name, f.lost, got, err)
			}
		})
		// Where nobody replaces it the measurement ends, and says why.
		measureFrail(t, 1, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
			f.hangs, f.looks, o.Plan.Start = true, 1e6, start
			begin := time.Now()
			got, err := h.Capacity(t.Context(), o)
			if err != nil || got.GetValid() || !strings.Contains(got.GetInvalidReason(), "hangs") || time.Since(begin) > 2*time.Minute {
				t.Errorf("%s, not replaced: after %v %v, %v", name, time.Since(begin), got, err)
			}
		})
	}
}

// From far above an instance is lost of each level on the way down, and that has an end.
func TestFewInstancesAreLostInOneMeasurement(t *testing.T) {
	t.Parallel()
	measureFrail(t, 1, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
		o.Plan.Start = 1000
		got, err := h.Capacity(t.Context(), o)
		if err != nil || f.lost > 3 || len(got.GetSteps()) == 0 {
			t.Errorf("%d instances were lost; %v, %v", f.lost, got, err)
		}
		if !got.GetValid() && !strings.Contains(got.GetInvalidReason(), "loss of the instance") && !strings.Contains(got.GetInvalidReason(), "went away") {
			t.Errorf("not valid because %s", got.GetInvalidReason())
		}
		t.Logf("%d lost, %.1f requests/s, %s", f.lost, got.GetRequestsPerSecond(), got.GetInvalidReason())
	})
}

// Somebody rolls the shadow, or it crashes by itself: that is no capacity, at whatever level it happens.
func TestAnInstanceThatLeavesAtEaseIsNotMeasured(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"at the first level": 3 * time.Second, "at the second": 8500 * time.Millisecond} {
		measureFrail(t, 3, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
			leaves := time.AfterFunc(after, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.leave()
			})
			defer leaves.Stop()
			o.Replace = func(context.Context) (platform.Instance, bool) { return platform.Instance{}, false } // of another version
			got, err := h.Capacity(t.Context(), o)
			if err != nil || got.GetValid() || !strings.Contains(got.GetInvalidReason(), "went away") || len(lostAt(got)) > 0 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		})
	}
}

// brittle answers at once and well, up to a rate at which it dies: of memory, for example. In virtual time.
type brittle struct {
	dies     float64       // requests per second
	noticed  time.Duration // after which its platform says so
	restarts bool          // so soon that its platform never says so
	accident time.Duration // when it dies of something else; 0 for never

	mu     sync.Mutex
	recent []time.Time // requests, of brittleMemory
	died   time.Time
	deaths int
}

// brittleMemory is long enough that what a rate does is not chance.
const brittleMemory = 3 * time.Second

func (b *brittle) Send(context.Context, string, *captured.Request) client.Outcome {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent = append(b.recent, now)
	for now.Sub(b.recent[0]) > brittleMemory {
		b.recent = b.recent[1:]
	}
	if b.died.IsZero() && float64(len(b.recent)) > b.dies*brittleMemory.Seconds() {
		b.die()
	}
	if !b.died.IsZero() {
		return client.Outcome{Done: now, Err: errors.New("connection refused")}
	}
	return client.Outcome{Done: now.Add(5 * time.Millisecond), Status: 200}
}

// die is called with mu held.
func (b *brittle) die() {
	b.died = time.Now()
	b.deaths++
	if b.restarts {
		time.AfterFunc(3*time.Second, func() { b.Replace(context.Background()) })
	}
}

func (b *brittle) Left() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.restarts || b.died.IsZero() || time.Since(b.died) < b.noticed {
		return time.Time{}, false
	}
	return b.died.Add(b.noticed), true
}

func (b *brittle) Replace(context.Context) (platform.Instance, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.died, b.recent = time.Time{}, nil
	return platform.Instance{ID: "next", Version: "v1"}, true
}

// measureBrittle measures until the capacity is precise, and at most a few times.
func measureBrittle(t *testing.T, b *brittle, body func(t *testing.T, o measure.Order, results []*foreshadowv1.CapacityMeasured)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHolder(t, time.Second)
		h.Sender, h.Wait, h.Rand = b, pace.Timer, rand.New(rand.NewPCG(1, 1))
		o := order(t, "virtual")
		o.Left, o.Replace = b.Left, b.Replace
		o.Plan.Start, o.Plan.Settle, o.Plan.Hold, o.Plan.MaxSteps, o.Plan.MaxRate = 20, time.Second, 8*time.Second, 8, 300
		if b.accident > 0 {
			defer time.AfterFunc(b.accident, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.die()
			}).Stop()
		}
		var results []*foreshadowv1.CapacityMeasured
		for range 6 {
			got, err := h.Capacity(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if results = append(results, got); got.GetPrecise() || !got.GetValid() {
				break
			}
			o.Plan.Before = measure.StepsFrom(got.GetSteps())
		}
		body(t, o, results)
	})
}

// An instance that answers well until the load kills it has a capacity all the same: below that load, once two have died of it.
func TestWhatKillsAnInstanceThatAnsweredWellIsNotCarried(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*brittle{
		"seen at once": {}, "seen late": {noticed: 2 * time.Second}, "not seen": {restarts: true},
	} {
		b.dies = 100
		measureBrittle(t, b, func(t *testing.T, _ measure.Order, results []*foreshadowv1.CapacityMeasured) {
			first, last := results[0], results[len(results)-1]
			for _, m := range results {
				if !m.GetValid() || m.GetRequestsPerSecond() > 130 || m.GetRequestsPerSecond() < 40 {
					t.Errorf("%s: %v", name, m)
				}
			}
			if lost := lostAt(first); len(lost) == 0 || b.deaths < 2*len(lost) || first.GetUpperRequestsPerSecond() > slices.Min(lost) {
				t.Errorf("%s: at first %d deaths, lost at %v, capacity %v", name, b.deaths, lost, first.GetUpperRequestsPerSecond())
			}
			if b.deaths > 3*len(results) || !last.GetPrecise() || last.GetRequestsPerSecond() > 100 {
				t.Errorf("%s: %d deaths in %d measurements; in the end %v", name, b.deaths, len(results), last)
			}
			t.Logf("%s: %d deaths in %d measurements, lost at %v, at first %.1f to %.1f, then %.1f to %.1f requests/s", name, b.deaths, len(results), lostAt(last),
				first.GetLowerRequestsPerSecond(), first.GetUpperRequestsPerSecond(), last.GetLowerRequestsPerSecond(), last.GetUpperRequestsPerSecond())
		})
	}
}

// One death may be an accident. What the next instance carries is carried.
func TestOneDeathIsNoVerdict(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*brittle{
		"seen at once": {}, "seen late": {noticed: 2 * time.Second}, "not seen": {restarts: true},
	} {
		for _, accident := range []time.Duration{5 * time.Second, 12 * time.Second, 23 * time.Second} {
			b := &brittle{noticed: b.noticed, restarts: b.restarts, dies: 1e6, accident: accident}
			measureBrittle(t, b, func(t *testing.T, o measure.Order, results []*foreshadowv1.CapacityMeasured) {
				m := results[0]
				if !m.GetValid() || b.deaths != 1 || math.Abs(m.GetRequestsPerSecond()/o.Plan.MaxRate-1) > 0.02 || len(lostAt(m)) > 0 {
					t.Errorf("%s, after %v: %d deaths, %v", name, accident, b.deaths, m)
				}
				if !slices.ContainsFunc(m.GetSteps(), func(s *foreshadowv1.CapacityStep) bool { return s.GetBroken() == probe.BrokenOnce && !s.GetValid() }) {
					t.Errorf("%s, after %v: the one death is not said: %v", name, accident, m.GetSteps())
				}
			})
		}
	}
}

// With no other instance to go on with, what was carried until then is the answer.
func TestWhatWasCarriedCountsWithoutAnother(t *testing.T) {
	t.Parallel()
	measureFrail(t, 1, func(t *testing.T, f *frail, h *measure.Holder, o measure.Order) {
		o.Plan.Start = 30 // then 60, which is too much
		o.Replace = func(context.Context) (platform.Instance, bool) { return platform.Instance{}, false }
		got, err := h.Capacity(t.Context(), o)
		if err != nil || !got.GetValid() || f.lost != 1 || got.GetRequestsPerSecond() < 29 || got.GetRequestsPerSecond() > 65 {
			t.Errorf("%d lost: %v, %v", f.lost, got, err)
		}
	})
}
