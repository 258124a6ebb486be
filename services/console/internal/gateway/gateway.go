// Package gateway is the HTTP side of the console: the page, the gRPC API as JSON under /api/v1, its OpenAPI document, and
// what the page needs besides.
//
//	/api/v1/...                            the gRPC API, as proto/gateway/routes.yaml says
//	GET /openapi.json                      what that is, in OpenAPI
//	GET /api/v1/workloads                  the workloads as they are declared
//	GET /api/v1/workloads/{w}/events       Server-Sent Events, see package live
//	everything else                        the page
//
// Answers are protojson with the names of the .proto. An error is a google.rpc.Status under the HTTP status of its code;
// the metadata of its ErrorInfo name the backend that said so. An Authorization header is passed on to the backend and
// speaks there instead of the console's own identity.
package gateway

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/workload"
	openapi "github.com/foreshadow/foreshadow/proto/gateway"
	"github.com/foreshadow/foreshadow/services/console/internal/live"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// Config of the gateway.
type Config struct {
	// Workloads in the order they are listed.
	Workloads []workload.Workload
	// Feeds by name of the workload.
	Feeds map[string]*live.Feed
	// Clients of the backends.
	Clients upstream.Clients
	// Hosts the page answers to besides IP addresses and localhost.
	Hosts []string
	// Page is the built web page; without an index.html a note says how to build it.
	Page fs.FS
	// Heartbeat is the time between two heartbeats of an event stream.
	Heartbeat time.Duration
	// ReadTimeout is how long the body of a request may take to come.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may take to accept one event, or one piece of an answer.
	WriteTimeout time.Duration
	// Log of requests that failed on our side.
	Log *slog.Logger
}

type gateway struct {
	Config
	origin *http.CrossOriginProtection
}

// New returns the handler.
func New(cfg Config) (http.Handler, error) {
	g := &gateway{Config: cfg, origin: http.NewCrossOriginProtection()}
	rest, err := g.rest()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/workloads", g.listWorkloads)
	mux.HandleFunc("GET /api/v1/workloads/{workload}/events", g.events)
	mux.Handle("/api/", g.api(rest))
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) { writeBody(w, http.StatusOK, openapi.OpenAPI) })
	mux.Handle("/", page(cfg.Page))
	return g.guard(mux), nil
}

// declared is a workload as the user declared it: what the page needs to judge the numbers by.
type declared struct {
	Name            string  `json:"name"`
	SLOQuantile     float64 `json:"slo_quantile"`
	SLOLatency      float64 `json:"slo_latency_seconds"`
	SLOErrorRatio   float64 `json:"slo_error_ratio"`
	MinInstances    int     `json:"min_instances"`
	MaxInstances    int     `json:"max_instances"`
	Policy          string  `json:"policy"`
	Mode            string  `json:"mode"`
	IntervalSeconds float64 `json:"interval_seconds"`
}

func (g *gateway) listWorkloads(w http.ResponseWriter, _ *http.Request) {
	list := make([]declared, 0, len(g.Workloads))
	for _, wl := range g.Workloads {
		list = append(list, declared{
			Name: wl.Name, SLOQuantile: wl.SLO.Quantile, SLOLatency: wl.SLO.Latency.Seconds(), SLOErrorRatio: wl.SLO.ErrorRatio,
			MinInstances: wl.Instances.Min, MaxInstances: wl.Instances.Max, Policy: string(wl.Policy.Kind),
			Mode: string(wl.Guardrails.Mode), IntervalSeconds: wl.Policy.Interval.Seconds(),
		})
	}
	body, err := json.Marshal(map[string][]declared{"workloads": list})
	if err != nil {
		writeStatus(w, http.StatusInternalServerError, status.New(codes.Internal, err.Error()))
		return
	}
	writeBody(w, http.StatusOK, body)
}

func writeBody(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// A client that went away is no error of ours.
	_, _ = w.Write(append(body, '\n'))
}
