package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/procfs"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// maxWatch is how long a watch is held before it is answered with the unchanged state.
	maxWatch = 20 * time.Second
	maxBody  = 4 << 10
)

var errStopping = errors.New("the agent stops")

// requestError is a fault of the request.
type requestError struct{ text string }

func (e *requestError) Error() string { return e.text }

type api struct {
	agent *Agent
	proc  procfs.FS
	// stopped ends the watches, which would hold up the stop of the agent.
	stopped <-chan struct{}
}

func (a *Agent) handler(ctx context.Context, proc procfs.FS) http.Handler {
	s := &api{agent: a, proc: proc, stopped: ctx.Done()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/groups/{group}", s.answer(s.read))
	mux.HandleFunc("PUT /v1/groups/{group}", s.answer(s.write))
	mux.HandleFunc("GET /v1/groups/{group}/usage", s.answer(s.usage))
	mux.HandleFunc("POST /v1/groups/{group}/trials", s.answer(s.try))
	mux.HandleFunc("DELETE /v1/groups/{group}/trials/{trial}", s.answer(s.endTrial))
	return mux
}

// answer writes what a handler returns as JSON and maps its error to a status.
func (s *api) answer(handle func(r *http.Request, g *group) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body any
		g, known := s.agent.groups.get(r.PathValue("group"))
		err := platform.NotFound(r.PathValue("group"))
		if known {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			body, err = handle(r, g)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(status(err))
			body = refusalBody{Error: err.Error()}
		}
		// An error means that the client has left.
		_ = json.NewEncoder(w).Encode(body)
	}
}

func status(err error) int {
	var bad *requestError
	switch {
	case errors.As(err, &bad):
		return http.StatusBadRequest
	case errors.Is(err, platform.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, platform.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, platform.ErrUnsupported):
		return http.StatusUnprocessableEntity
	case errors.Is(err, errStopping):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func (s *api) read(r *http.Request, g *group) (any, error) {
	state, changed := g.state()
	after := r.URL.Query().Get("after")
	if after == "" {
		return state, nil
	}
	revision, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		return nil, &requestError{fmt.Sprintf("after: want a revision, got %q", after)}
	}
	if revision != state.Revision {
		return state, nil
	}
	t := time.NewTimer(maxWatch)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-r.Context().Done():
	case <-s.stopped:
		return nil, errStopping
	}
	state, _ = g.state()
	return state, nil
}

func (s *api) write(r *http.Request, g *group) (any, error) {
	var c platform.Change
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, &requestError{"decode change: " + err.Error()}
	}
	return g.scale(c)
}

func (s *api) usage(_ *http.Request, g *group) (any, error) {
	return g.usage(s.proc, time.Now())
}
