package shadowrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/fleet"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

// refusing is a platform of which a test says what it answers.
type refusing struct {
	answer func(since time.Duration) (platform.State, error)
	begin  time.Time
	ended  int
	gone   time.Duration // after which its instances are gone once it was ended
	end    time.Time
}

func (r *refusing) Try(context.Context, string, platform.Trial) (platform.State, error) {
	return r.answer(time.Since(r.begin))
}

func (r *refusing) EndTrial(context.Context, string, string) error {
	r.ended++
	r.end = time.Now()
	return nil
}

func (r *refusing) usage(_ context.Context, group string) ([]platform.Usage, error) {
	if r.ended > 0 && time.Since(r.end) >= r.gone {
		return nil, platform.NotFound(group)
	}
	return nil, errors.New("not measured yet")
}

// tried starts a trial that is not to succeed, and returns why it did not, after how long, and how long its release took.
func tried(r *refusing) (failure string, after, released time.Duration) {
	l := &lane{trials: r, usage: r.usage, log: slog.New(slog.DiscardHandler)}
	l.workload.Shadow = workload.Target{Platform: workload.PlatformKubernetes, Group: "shadow"}
	r.begin = time.Now()
	_, release, failure := l.start(context.Background(), platform.Trial{Name: "x", Instances: 2, Lease: trialLease})
	after = time.Since(r.begin)
	begin := time.Now()
	release()
	release()
	return failure, after, time.Since(begin)
}

func TestWhyATrialIsNotReady(t *testing.T) {
	t.Parallel()
	starting := platform.State{Instances: []platform.Instance{{Phase: platform.Ready}, {Phase: platform.Failed}}}
	quota := errors.New("exceeded quota: small")
	for name, c := range map[string]struct {
		answer func(since time.Duration) (platform.State, error)
		says   string
		within [2]time.Duration
	}{
		"it cannot be": {func(time.Duration) (platform.State, error) {
			return platform.State{}, fmt.Errorf("of a StatefulSet: %w", platform.ErrUnsupported)
		}, "of a StatefulSet", [2]time.Duration{0, 0}},
		"a quota that stays full": {func(time.Duration) (platform.State, error) { return platform.State{}, quota }, "exceeded quota", [2]time.Duration{refusedTimeout, refusedTimeout + time.Second}},
		"refused now and then": {func(since time.Duration) (platform.State, error) {
			if since%(20*time.Second) < 10*time.Second {
				return platform.State{}, quota
			}
			return starting, nil
		}, "exceeded quota", [2]time.Duration{podStart, podStart + 20*time.Second}},
		"instances that fail": {func(time.Duration) (platform.State, error) { return starting, nil }, "1 of 2 instances were ready after 5m0s; 1 have failed", [2]time.Duration{podStart, podStart + time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &refusing{answer: c.answer, gone: 17 * time.Second}
				failure, after, released := tried(r)
				if !strings.Contains(failure, c.says) || after < c.within[0] || after > c.within[1] {
					t.Errorf("%q after %v, want %q within %v", failure, after, c.says, c.within)
				}
				// The next one may begin only when nothing of this one runs.
				if r.ended != 1 || released < r.gone || released > r.gone+time.Second {
					t.Errorf("ended %d times, released after %v", r.ended, released)
				}
			})
		})
	}
}

func TestATrialThatStaysIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &refusing{answer: func(time.Duration) (platform.State, error) { return platform.State{}, platform.ErrUnsupported }, gone: time.Hour}
		if _, _, released := tried(r); released < goneTimeout || released > goneTimeout+time.Second {
			t.Errorf("released after %v", released)
		}
	})
}

func TestHowLongATrialMayStart(t *testing.T) {
	t.Parallel()
	docker := workload.Target{Platform: workload.PlatformDocker}
	docker.Docker.StartTimeout = 7 * time.Second
	local := workload.Target{Platform: workload.PlatformLocal}
	local.Process.StartTimeout = 9 * time.Second
	for want, target := range map[time.Duration]workload.Target{
		podStart: {Platform: workload.PlatformKubernetes}, 7 * time.Second: docker, 9 * time.Second: local, time.Minute: {Platform: workload.PlatformLocal},
	} {
		if got := startTimeout(target); got != want {
			t.Errorf("%s: %v, want %v", target.Platform, got, want)
		}
	}
}

// mortal is a trial whose instances die, each after a while, or are told to end.
type mortal struct {
	lives   []time.Duration // of one instance after the other, from its start; those after the last do not die
	told    bool            // they drain instead
	restart bool            // they keep their identity, and are not ready for a while
	hang    bool            // they answer no more, and are given up after a while

	mu    sync.Mutex
	begun []time.Time // of each instance
	ended time.Time
}

// dead is called with mu held.
func (m *mortal) dead() bool {
	n := len(m.begun) - 1
	return n < len(m.lives) && time.Since(m.begun[n]) >= m.lives[n]
}

func (m *mortal) Try(context.Context, string, platform.Trial) (platform.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.begun) == 0 || !m.ended.IsZero() {
		m.begun, m.ended = append(m.begun, time.Now()), time.Time{}
	}
	i := platform.Instance{ID: fmt.Sprint("trial", len(m.begun)), Address: "127.0.0.1:1", Phase: platform.Ready, Version: "v1"}
	switch {
	case !m.dead(), m.hang && time.Since(m.begun[len(m.begun)-1]) < givenUp:
	case m.told:
		i.Phase = platform.Draining
	case m.restart:
		i.Phase = platform.Starting
	default:
		i.Phase = platform.Failed
	}
	return platform.State{Instances: []platform.Instance{i}}, nil
}

// givenUp is how long after its start one that hangs is.
const givenUp = 40 * time.Second

func (m *mortal) EndTrial(context.Context, string, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = time.Now()
	return nil
}

func (m *mortal) usage(_ context.Context, group string) ([]platform.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended.IsZero() {
		return nil, platform.NotFound(group)
	}
	return nil, nil
}

func (m *mortal) Send(context.Context, string, *captured.Request) client.Outcome {
	m.mu.Lock()
	dead := m.dead()
	m.mu.Unlock()
	switch {
	case dead && m.hang:
		time.Sleep(2 * time.Second)
		return client.Outcome{Done: time.Now(), Err: client.ErrTimeout}
	case dead:
		return client.Outcome{Done: time.Now(), Err: errors.New("refused")}
	}
	return client.Outcome{Done: time.Now().Add(time.Millisecond), Status: 200}
}

// Watch knows no instance of any group.
func (m *mortal) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	fn(platform.State{Group: group}, nil)
	<-ctx.Done()
}

func (m *mortal) NotReady(string, string) {}
func (m *mortal) Ready(string)            {}

// heldOn has loads held one after the other on a trial that exists for a while.
func heldOn(t *testing.T, m *mortal, age, hold time.Duration, minutesLeft float64, loads int, each func(step probe.Step, used float64, failure string)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		log := slog.New(slog.DiscardHandler)
		l := &lane{trials: m, usage: m.usage, log: log, holder: &measure.Holder{
			Sender: m, MaxInFlight: 10, Book: metric.NewBook("test"), Wait: pace.Timer, Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
		}}
		l.workload.SLO = workload.SLO{Quantile: 0.95, Latency: time.Second, ErrorRatio: 0.01}
		l.workload.Production.Group, l.workload.Shadow.Group = "shop", "shop-shadow"
		l.fleet = fleet.New(l.workload, m, &egress.Guard{}, m, log, time.Now)
		go func() { _ = l.fleet.Run(ctx) }()
		synctest.Wait()
		job := experiment.Job{ID: "01234567", Hold: hold, Matrix: &foreshadowv1.ExperimentMatrix{}}
		c := experiment.Cell{Configuration: &foreshadowv1.ExperimentConfiguration{Name: "x", CpuCores: 1}, Load: &foreshadowv1.ExperimentLoad{}, Rate: 10}
		mix := reservoir.NewMix([]*captured.Request{referencetest.Request(t, "a", "/", time.Now())})
		s := l.stage(ctx, job, c.Configuration)
		defer func() { s.release() }()
		budget := &minutes{left: minutesLeft}
		for range loads {
			time.Sleep(age)
			each(l.heldTwice(ctx, job, c, &s, mix, budget))
		}
	})
}

// The next load is held on an instance that is ready, also where the one before makes one restart.
func TestALoadIsHeldOnATrialThatIsReady(t *testing.T) {
	t.Parallel()
	const hold = 10 * time.Second
	m := &mortal{lives: []time.Duration{hold + 3*time.Second/2}, restart: true}
	heldOn(t, m, time.Second, hold, 1, 2, func(step probe.Step, _ float64, failure string) {
		if failure != "" || !step.Met {
			t.Errorf("failure %q, step %+v", failure, step)
		}
	})
	if len(m.begun) != 2 {
		t.Errorf("%d instances", len(m.begun))
	}
}

// A load that kills the instances of a trial is a result, once it has killed two. One death may be an accident.
func TestALoadThatKillsATrialIsNotCarried(t *testing.T) {
	t.Parallel()
	const dies, hold = 7 * time.Second, 10 * time.Second
	for name, tc := range map[string]struct {
		mortal  *mortal
		minutes float64
		broken  string // of the result
		failure string
	}{
		"it stays":               {&mortal{}, 1, "", ""},
		"one death":              {&mortal{lives: []time.Duration{dies}}, 1, "", ""},
		"two deaths":             {&mortal{lives: []time.Duration{dies, dies}}, 1, probe.BrokenLost, ""},
		"two deaths and a start": {&mortal{lives: []time.Duration{dies, dies}, restart: true}, 1, probe.BrokenLost, ""},
		"one hangs":              {&mortal{lives: []time.Duration{dies}, hang: true}, 1, "", ""},
		"two hang":               {&mortal{lives: []time.Duration{dies, dies}, hang: true}, 1, probe.BrokenLost, ""},
		"told to end":            {&mortal{lives: []time.Duration{dies}, told: true}, 1, "", "went away"},
		"one death, no budget":   {&mortal{lives: []time.Duration{dies}}, hold.Minutes(), "", "died under it, and it could not be held again: the budget"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := tc.mortal
			heldOn(t, m, 250*time.Millisecond, hold, tc.minutes, 1, func(step probe.Step, used float64, failure string) {
				if (tc.failure == "") != (failure == "") || !strings.Contains(failure, tc.failure) || failure == "" && (step.Broken != tc.broken || step.Met != (tc.broken == "")) {
					t.Errorf("failure %q, step %+v", failure, step)
				}
				if got, want := used, hold.Minutes()*float64(len(m.begun)); tc.minutes == 1 && got != want {
					t.Errorf("%v minutes for %d instances, want %v", got, len(m.begun), want)
				}
			})
		})
	}
}
