package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// member is a group that runs until it is told to end, and then for as long as the test says.
type member struct {
	fixed
	fails  error
	linger chan struct{} // it ends once this is closed; nil: at once
}

func (m *member) Run(ctx context.Context) error {
	if m.fails != nil {
		return m.fails
	}
	<-ctx.Done()
	if m.linger != nil {
		<-m.linger
	}
	return nil
}

func newMember(name string, instances int) *member {
	return &member{fixed: fixed{state: platform.State{Group: name, Desired: instances}, changed: make(chan struct{})}}
}

// running are groups with one called web; linger is of the trials.
func running(t *testing.T, linger chan struct{}) (groups *Groups[*member], stop func() error) {
	t.Helper()
	groups = NewGroups(func(base *member, name string, a platform.Trial) (*member, error) {
		if base.state.Group != "web" {
			t.Errorf("varies %s", base.state.Group)
		}
		if a.CPUCores > 0 {
			return nil, fmt.Errorf("cores: %w", platform.ErrUnsupported)
		}
		m := newMember(name, a.Instances)
		m.linger = linger
		return m, nil
	}, 5, slog.New(slog.DiscardHandler))
	groups.Add("web", newMember("web", 1))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- groups.Run(ctx) }()
	synctest.Wait()
	return groups, func() error { cancel(); return <-done }
}

func trialOf(name string) platform.Trial {
	return platform.Trial{Name: name, Instances: 2, Lease: time.Minute}
}

// runningTrials is how many there are once nothing is under way.
func runningTrials(groups *Groups[*member]) int {
	synctest.Wait()
	groups.mu.Lock()
	defer groups.mu.Unlock()
	return len(groups.trials)
}

func TestATrialLivesByItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		linger := make(chan struct{})
		groups, stop := running(t, linger)
		for range 5 { // four minutes, by renewals
			if s, err := groups.try("web", trialOf("x")); err != nil || s.Desired != 2 || s.Group != "web.x" {
				t.Fatalf("%+v, %v", s, err)
			}
			time.Sleep(50 * time.Second)
		}
		time.Sleep(9 * time.Second)
		if runningTrials(groups) != 1 {
			t.Error("it has ended before its lease did")
		}
		time.Sleep(2 * time.Second)
		if runningTrials(groups) != 0 {
			t.Error("it has outlived its lease")
		}
		if _, err := groups.try("web", trialOf("x")); !errors.Is(err, platform.ErrConflict) || !strings.Contains(err.Error(), "still ending") {
			t.Errorf("begun again while it ends: %v", err)
		}
		close(linger)
		synctest.Wait()
		if _, known := groups.find("web.x"); known {
			t.Error("it is there")
		}
		if _, err := groups.try("web", trialOf("x")); err != nil {
			t.Errorf("not begun again: %v", err)
		}
		if err := stop(); err != nil || len(groups.List()) != 1 {
			t.Errorf("Run = %v, left %v", err, groups.List())
		}
	})
}

// The timer of a lease may have fired while its renewal held the lock.
func TestALeaseThatWasRenewedDoesNotExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		groups, stop := running(t, nil)
		if _, err := groups.try("web", trialOf("x")); err != nil {
			t.Fatal(err)
		}
		groups.mu.Lock()
		first := groups.trials["web.x"]
		groups.mu.Unlock()
		groups.expire("web.x", first)
		if runningTrials(groups) != 1 {
			t.Error("ended by a timer that came too early")
		}
		groups.end("web.x")
		groups.end("web.x")
		synctest.Wait()
		if _, err := groups.try("web", trialOf("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		groups.mu.Lock()
		first.expire = time.Time{}
		groups.mu.Unlock()
		groups.expire("web.x", first)
		if runningTrials(groups) != 1 {
			t.Error("ended by the timer of another one of its name")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedTrials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		groups, stop := running(t, nil)
		for i := range platform.MaxTrials {
			if _, err := groups.try("web", trialOf(fmt.Sprint("x", i))); err != nil {
				t.Fatal(err)
			}
		}
		other := trialOf("x1")
		other.Image = "b"
		cores := trialOf("y")
		cores.CPUCores = 1
		many := trialOf("y")
		many.Instances = 6
		for what, c := range map[string]struct {
			group string
			ask   platform.Trial
			is    error
		}{
			"something else by its name": {"web", other, platform.ErrConflict},
			"one too many":               {"web", trialOf("y"), platform.ErrConflict},
			"of a trial":                 {"web.x1", trialOf("y"), platform.ErrUnsupported},
			"too many instances":         {"web", many, nil},
		} {
			if _, err := groups.try(c.group, c.ask); err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: %v", what, err)
			}
		}
		groups.end("web.x0")
		synctest.Wait()
		if _, err := groups.try("web", cores); !errors.Is(err, platform.ErrUnsupported) {
			t.Errorf("what cannot be given: %v", err)
		}
		if _, err := groups.try("nobody", trialOf("y")); !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("of nobody: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, err := groups.try("web", trialOf("z")); !errors.Is(err, ErrStopping) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAGroupThatCannotGoOnEndsTheOthers(t *testing.T) {
	t.Parallel()
	groups := NewGroups[*member](nil, 5, slog.New(slog.DiscardHandler))
	broken := newMember("broken", 1)
	broken.fails = errors.New("its memory cannot be read")
	groups.Add("web", newMember("web", 1))
	groups.Add("broken", broken)
	if err := groups.Run(t.Context()); !errors.Is(err, broken.fails) {
		t.Errorf("Run = %v", err)
	}
}

func TestTrialsOverTheAPI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		groups, stop := running(t, nil)
		api := groups.API(t.Context())
		for _, c := range []struct {
			method, path, body string
			status             int
		}{
			{http.MethodPost, "/v1/groups/web/trials", `{"name": "x", "instances": 2, "lease": 1000000000}`, http.StatusOK},
			{http.MethodGet, "/v1/groups/web.x", "", http.StatusOK},
			{http.MethodPost, "/v1/groups/web/trials", `{"name": "x", "instances": 3, "lease": 1000000000}`, http.StatusConflict},
			{http.MethodPost, "/v1/groups/web/trials", `{"name": "X", "instances": 3, "lease": 1000000000}`, http.StatusBadRequest},
			{http.MethodPost, "/v1/groups/web/trials", `{"name": "y", "only_on": "sundays"}`, http.StatusBadRequest},
			{http.MethodPost, "/v1/groups/nobody/trials", `{}`, http.StatusNotFound},
			{http.MethodDelete, "/v1/groups/web/trials/x", "", http.StatusOK},
			{http.MethodDelete, "/v1/groups/web/trials/x", "", http.StatusOK},
			{http.MethodGet, "/v1/groups/web.x", "", http.StatusNotFound},
		} {
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
			if synctest.Wait(); w.Code != c.status {
				t.Errorf("%s %s %s: %d, want %d: %s", c.method, c.path, c.body, w.Code, c.status, w.Body)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMetricsOfAnAgent(t *testing.T) {
	t.Parallel()
	m, web, away := NewMetrics("local"), newMember("web", 3), newMember("away", 7)
	web.state.Instances = []platform.Instance{{Phase: platform.Ready}, {Phase: platform.Failed}, {Phase: platform.Ready}}
	away.err = ErrAway
	m.Add("web", web)
	m.Add("away", away)
	m.Failed("web")
	m.Failed("web.x-1") // of a trial
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	want := `
# HELP foreshadow_local_platform_desired_instances Instances asked for.
# TYPE foreshadow_local_platform_desired_instances gauge
foreshadow_local_platform_desired_instances{group="web"} 3
# HELP foreshadow_local_platform_failures_total Instances that ended by themselves, were not ready in time or missed their checks.
# TYPE foreshadow_local_platform_failures_total counter
foreshadow_local_platform_failures_total{group="web"} 1
# HELP foreshadow_local_platform_instances Instances by group and phase.
# TYPE foreshadow_local_platform_instances gauge
foreshadow_local_platform_instances{group="web",phase="draining"} 0
foreshadow_local_platform_instances{group="web",phase="failed"} 1
foreshadow_local_platform_instances{group="web",phase="ready"} 2
foreshadow_local_platform_instances{group="web",phase="starting"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
