package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a group that says what a test has it say.
type fixed struct {
	mu      sync.Mutex
	state   platform.State
	err     error
	changed chan struct{}
}

func (f *fixed) State() (platform.State, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.changed, f.err
}

func (f *fixed) Scale(c platform.Change) (platform.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return platform.State{}, f.err
	}
	f.state.Desired, f.state.Revision = c.Instances, f.state.Revision+1
	close(f.changed)
	f.changed = make(chan struct{})
	return f.state, nil
}

func (f *fixed) Usage(context.Context) ([]platform.Usage, error) {
	return []platform.Usage{{Instance: "a", CPUSeconds: 2}}, f.err
}

// serve runs an agent's API over a group until the test ends.
func serve(t *testing.T, g Group) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsa") // a path below t.TempDir may be longer than that of a unix socket may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ln, release, err := Listen(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	api := NewAPI(ctx, func(name string) (Group, bool) { return g, name == "web" })
	go func() { done <- Serve(ctx, ln, api, slog.New(slog.DiscardHandler)) }()
	c := NewClient(socket)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
		c.Close()
		release()
	})
	return c
}

func TestEachErrorKeepsItsKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		status int
		is     error
	}{
		"fenced off":  {fmt.Errorf("group: %w", platform.ErrConflict), http.StatusConflict, platform.ErrConflict},
		"not found":   {platform.NotFound("web"), http.StatusNotFound, platform.ErrNotFound},
		"unsupported": {platform.ErrUnsupported, http.StatusUnprocessableEntity, platform.ErrUnsupported},
		"stopping":    {ErrStopping, http.StatusServiceUnavailable, nil},
		"away":        {fmt.Errorf("engine: %w", ErrAway), http.StatusServiceUnavailable, nil},
		"a fault":     {&RequestError{"want more"}, http.StatusBadRequest, nil},
		"another":     {errors.New("broken"), http.StatusInternalServerError, nil},
	} {
		if got := status(c.err); got != c.status {
			t.Errorf("%s: status %d, want %d", name, got, c.status)
		}
		client := serve(t, &fixed{err: c.err, changed: make(chan struct{})})
		for what, err := range map[string]error{"state": stateOf(t, client), "scale": scaleOf(t, client), "usage": usageOf(t, client)} {
			if err == nil || !strings.Contains(err.Error(), c.err.Error()) || !strings.Contains(err.Error(), client.Socket()) {
				t.Errorf("%s: %s: %v, want the agent's words and its socket", name, what, err)
			}
			for _, kind := range []error{platform.ErrConflict, platform.ErrNotFound, platform.ErrUnsupported} {
				if errors.Is(err, kind) != errors.Is(c.is, kind) {
					t.Errorf("%s: %s: %v, is %v: %v", name, what, err, kind, errors.Is(err, kind))
				}
			}
		}
	}
}

func stateOf(t *testing.T, c *Client) error { _, err := c.State(t.Context(), "web"); return err }
func scaleOf(t *testing.T, c *Client) error {
	_, err := c.Scale(t.Context(), "web", platform.Change{Instances: 1})
	return err
}
func usageOf(t *testing.T, c *Client) error { _, err := c.Usage(t.Context(), "web"); return err }

func TestAChangeThatIsNotUnderstoodIsNotMade(t *testing.T) {
	t.Parallel()
	g := &fixed{changed: make(chan struct{})}
	api := NewAPI(t.Context(), func(string) (Group, bool) { return g, true })
	for body, want := range map[string]int{
		`{"instances": 3}`:                            http.StatusOK,
		`{"instances": 4, "only_on_sundays": 1}`:      http.StatusBadRequest, // of a newer client
		`{"instances": "many"}`:                       http.StatusBadRequest,
		`{"instances": 5`:                             http.StatusBadRequest,
		`{"x": "` + strings.Repeat("x", 8<<10) + `"}`: http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/v1/groups/web", strings.NewReader(body)))
		if w.Code != want {
			t.Errorf("%.40s: %d, want %d", body, w.Code, want)
		}
	}
	if g.state.Desired != 3 {
		t.Errorf("%d desired, want 3", g.state.Desired)
	}
}

func TestAWatchHearsOfEachChange(t *testing.T) {
	t.Parallel()
	g := &fixed{state: platform.State{Revision: 7, Desired: 1}, changed: make(chan struct{})}
	c := serve(t, g)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var heard []int
	c.Watch(ctx, "web", func(s platform.State, err error) {
		if err != nil {
			t.Error(err)
		}
		heard = append(heard, s.Desired)
		if s.Desired == 3 {
			cancel()
			return
		}
		if _, err := g.Scale(platform.Change{Instances: s.Desired + 1}); err != nil {
			t.Error(err)
		}
	})
	if fmt.Sprint(heard) != "[1 2 3]" {
		t.Errorf("heard %v", heard)
	}
}

func TestOneAgentServesASocket(t *testing.T) {
	t.Parallel()
	c := serve(t, &fixed{changed: make(chan struct{})})
	if _, _, err := Listen(t.Context(), c.Socket()); err == nil || !strings.Contains(err.Error(), "another agent serves it") {
		t.Errorf("a second agent: %v", err)
	}
	info, err := os.Stat(c.Socket())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may connect", info.Mode(), err)
	}
	for path, fine := range map[string]bool{"": false, strings.Repeat("x", 108): false, "a/s": true} {
		if err := CheckSocket(path); (err == nil) != fine {
			t.Errorf("%.10q: %v", path, err)
		}
	}
}
