package shadowrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
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

// crashing is the instance of a trial, which ends by itself after a while and is replaced.
type crashing struct {
	refusing
	after time.Duration
}

func (c *crashing) Try(context.Context, string, platform.Trial) (platform.State, error) {
	i := platform.Instance{ID: "first", Phase: platform.Ready}
	if time.Since(c.begin) >= c.after {
		i.ID = "second"
	}
	return platform.State{Instances: []platform.Instance{i}}, nil
}

func (c *crashing) Send(context.Context, string, *captured.Request) client.Outcome {
	if time.Since(c.begin) >= c.after {
		return client.Outcome{Done: time.Now(), Err: errors.New("refused")}
	}
	return client.Outcome{Done: time.Now(), Status: 200}
}

// What is refused when an instance of a trial has crashed says nothing of the load, nor of what is tried.
func TestATrialsInstanceThatGoesAwayIsNoResult(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after   time.Duration
		failure string
	}{"it stays": {time.Hour, ""}, "it goes": {9 * time.Second, "went away"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &crashing{refusing: refusing{begin: time.Now()}, after: tc.after}
				l := &lane{trials: c, usage: c.usage, log: slog.New(slog.DiscardHandler)}
				l.workload.SLO = workload.SLO{Quantile: 0.95, Latency: time.Second, ErrorRatio: 0.01}
				h := &measure.Holder{
					Sender: c, MaxInFlight: 10, Book: metric.NewBook("test"), Wait: pace.Timer, Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
				}
				mix := reservoir.NewMix([]*captured.Request{referencetest.Request(t, "a", "/", time.Now())})
				step, failure := l.hold(t.Context(), h, l.tried(platform.Instance{ID: "first"}, platform.Trial{Name: "x"}), mix, probe.Level{Rate: 10, Hold: 10 * time.Second})
				if (tc.failure == "") != (failure == "") || !strings.Contains(failure, tc.failure) || failure == "" && !step.Met {
					t.Errorf("failure %q, step %+v", failure, step)
				}
			})
		})
	}
}
