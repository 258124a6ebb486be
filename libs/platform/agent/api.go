package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// maxWatch is how long a watch is held before it is answered with the unchanged state.
	maxWatch = 20 * time.Second
	maxBody  = 4 << 10
)

// ErrStopping says that the agent stops, ErrAway that what it works with does not answer it.
var (
	ErrStopping = errors.New("the agent stops")
	ErrAway     = errors.New("what runs the instances is away")
)

// RequestError is a fault of the request.
type RequestError struct{ Text string }

func (e *RequestError) Error() string { return e.Text }

// Group is what an agent keeps of one group. Its methods are safe for concurrent use.
type Group interface {
	// State returns what runs, and a channel that is closed at the next change.
	State() (platform.State, <-chan struct{}, error)
	// Scale accepts a change, which is carried out later, or says why not: a platform.ErrConflict when it was fenced off.
	Scale(c platform.Change) (platform.State, error)
	// Usage reads what the instances have used.
	Usage(ctx context.Context) ([]platform.Usage, error)
}

// API serves the groups of an agent. Handle adds what only that agent can.
type API struct {
	find func(name string) (Group, bool)
	mux  *http.ServeMux
	// stopped ends the watches, which would hold up the stop of the agent.
	stopped <-chan struct{}
}

// NewAPI returns the API of the groups that find finds; its watches end with ctx.
func NewAPI(ctx context.Context, find func(name string) (Group, bool)) *API {
	s := &API{find: find, mux: http.NewServeMux(), stopped: ctx.Done()}
	s.Handle("GET /v1/groups/{group}", s.read)
	s.Handle("PUT /v1/groups/{group}", write)
	s.Handle("GET /v1/groups/{group}/usage", usage)
	return s
}

// ServeHTTP implements http.Handler.
func (s *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Handle serves a pattern of http.ServeMux, which has a {group}: what the handler returns is written as JSON, and its error
// becomes a status.
func (s *API) Handle(pattern string, handle func(r *http.Request, g Group) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var body any
		g, known := s.find(r.PathValue("group"))
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
	})
}

func status(err error) int {
	var bad *RequestError
	switch {
	case errors.As(err, &bad):
		return http.StatusBadRequest
	case errors.Is(err, platform.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, platform.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, platform.ErrUnsupported):
		return http.StatusUnprocessableEntity
	case errors.Is(err, ErrStopping), errors.Is(err, ErrAway):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func (s *API) read(r *http.Request, g Group) (any, error) {
	state, changed, err := g.State()
	after := r.URL.Query().Get("after")
	if err != nil || after == "" {
		return state, err
	}
	revision, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		return nil, &RequestError{fmt.Sprintf("after: want a revision, got %q", after)}
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
		return nil, ErrStopping
	}
	state, _, err = g.State()
	return state, err
}

// Decode reads the body of a request; a key that is not known is a fault of it. what names it in the error.
func Decode(r *http.Request, what string, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &RequestError{"decode " + what + ": " + err.Error()}
	}
	return nil
}

func write(r *http.Request, g Group) (any, error) {
	var c platform.Change
	if err := Decode(r, "change", &c); err != nil {
		return nil, err
	}
	return g.Scale(c)
}

func usage(r *http.Request, g Group) (any, error) { return g.Usage(r.Context()) }
