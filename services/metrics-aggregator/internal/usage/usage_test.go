package usage_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/usage"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestRatesAreNeverInvented(t *testing.T) {
	t.Parallel()
	before := platform.Usage{Instance: "a", Time: t0, CPUSeconds: 10, MemoryBytes: 1, ReceivedBytes: 100, TransmittedBytes: 200}
	after := platform.Usage{Instance: "a", Time: t0.Add(2 * time.Second), CPUSeconds: 11, MemoryBytes: 5, ReceivedBytes: 300, TransmittedBytes: 200, Ready: true}
	for name, c := range map[string]struct {
		spoil func(before, after *platform.Usage)
		want  bool
	}{
		"two readings":    {func(_, _ *platform.Usage) {}, true},
		"new instance":    {func(b, _ *platform.Usage) { b.Instance = "other" }, false},
		"cpu reset":       {func(_, a *platform.Usage) { a.CPUSeconds = 9 }, false},
		"cpu not known":   {func(_, a *platform.Usage) { a.CPUSeconds = math.NaN() }, false},
		"receive reset":   {func(_, a *platform.Usage) { a.ReceivedBytes = 1 }, false},
		"transmit reset":  {func(_, a *platform.Usage) { a.TransmittedBytes = 1 }, false},
		"same reading":    {func(_, a *platform.Usage) { a.Time = t0 }, false},
		"clock went back": {func(_, a *platform.Usage) { a.Time = t0.Add(-time.Second) }, false},
		"reading too old": {func(b, _ *platform.Usage) { b.Time = t0.Add(-time.Minute) }, false},
		"absurd memory":   {func(_, a *platform.Usage) { a.MemoryBytes = math.MaxUint64 }, false},
	} {
		b, a := before, after
		c.spoil(&b, &a)
		got := usage.Rates(map[string]platform.Usage{b.Instance: b}, []platform.Usage{a}, 3*time.Second)
		var want []*foreshadowv1.InstanceUsage
		if c.want {
			want = append(want, &foreshadowv1.InstanceUsage{Instance: "a", CpuCores: 0.5, MemoryBytes: 5, ReceiveBytesPerSecond: 100, Ready: true})
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// shopPlatform runs two instances that use one core each; it can stop answering.
type shopPlatform struct {
	mu     sync.Mutex
	silent bool
}

func (p *shopPlatform) State(_ context.Context, group string) (platform.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent {
		return platform.State{}, errors.New("connection refused")
	}
	return platform.State{Group: group, Desired: 3, Instances: []platform.Instance{
		{ID: "a", Phase: platform.Ready, Size: platform.Size{CPUCores: 1.5, MemoryBytes: 3 << 30}}, {ID: "b", Phase: platform.Starting},
	}}, nil
}

func (p *shopPlatform) Usage(context.Context, string) ([]platform.Usage, error) {
	now := time.Now()
	cpu := now.Sub(t0).Seconds()
	return []platform.Usage{{Instance: "b", Time: now, CPUSeconds: cpu}, {Instance: "a", Time: now, CPUSeconds: cpu, Ready: true}}, nil
}

func (p *shopPlatform) setSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
}

// shelf keeps what is saved.
type shelf struct {
	mu    sync.Mutex
	saved map[time.Time]*window.Usage
}

func (s *shelf) SaveUsage(_ context.Context, k window.Key, u *window.Usage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved[k.Start] = u
	return nil
}

// lamp is the status: which parts are not ready.
type lamp struct {
	mu      sync.Mutex
	reasons map[string]string
}

func (l *lamp) NotReady(part, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reasons[part] = reason
}

func (l *lamp) Ready(part string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reasons, part)
}

func TestSilentPlatformLeavesWindowsAbsent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop, saved, status := &shopPlatform{}, &shelf{saved: map[time.Time]*window.Usage{}}, &lamp{reasons: map[string]string{}}
		c, err := usage.New(usage.Config{
			Instances: shop, Saver: saved, Bell: &notify.Bell{}, Status: status, Log: slog.New(slog.DiscardHandler),
			Workloads: []workload.Workload{{Name: "shop", Production: workload.Target{Group: "shop"}}},
			Interval:  time.Second, Now: time.Now, Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now().UTC().Truncate(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()

		time.Sleep(3500 * time.Millisecond) // windows 0, 1, 2 have ended
		shop.setSilent(true)
		time.Sleep(3 * time.Second) // windows 3, 4, 5 end unseen
		synctest.Wait()
		if status.reasons["usage of shop production"] == "" {
			t.Error("nobody was told that the platform is silent")
		}
		shop.setSilent(false)
		time.Sleep(2 * time.Second) // windows 6, 7
		synctest.Wait()
		if len(status.reasons) != 0 {
			t.Errorf("still not ready: %v", status.reasons)
		}
		cancel()
		<-done

		rates := map[int]int{}
		for at, u := range saved.saved {
			i := int(at.Sub(start) / time.Second)
			rates[i] = len(u.Instances)
			if u.Desired != 3 || u.Ready != 1 {
				t.Errorf("window %d: desired %d, ready %d, want 3 and 1", i, u.Desired, u.Ready)
			}
			for _, instance := range u.Instances {
				if math.Abs(instance.CpuCores-1) > 1e-9 {
					t.Errorf("window %d: %s uses %v cores, want 1", i, instance.Instance, instance.CpuCores)
				}
				cores, memory := 1.5, uint64(3<<30)
				if instance.Instance == "b" {
					cores, memory = 0, 0 // the platform does not say
				}
				if instance.GivenCpuCores != cores || instance.GivenMemoryBytes != memory {
					t.Errorf("window %d: %s was given %v cores and %d bytes, want %v and %d", i, instance.Instance, instance.GivenCpuCores, instance.GivenMemoryBytes, cores, memory)
				}
			}
		}
		// The first window of a stretch has no earlier reading, hence no rates.
		if diff := cmp.Diff(map[int]int{0: 0, 1: 2, 2: 2, 6: 0, 7: 2}, rates); diff != "" {
			t.Errorf("rates per window (-want +got):\n%s", diff)
		}
	})
}
