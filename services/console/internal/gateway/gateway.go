// Package gateway is the HTTP side of the console: the page, the JSON API under /api/v1 and the stream of events.
//
//	GET  /api/v1/workloads
//	GET  /api/v1/workloads/{w}/windows         QueryWindows; query parameters are its fields, environment defaults to production
//	GET  /api/v1/workloads/{w}/recommendation  GetRecommendation
//	GET  /api/v1/workloads/{w}/forecast        GetForecast; horizon_seconds
//	GET  /api/v1/workloads/{w}/actions         ListActions; page_size, page_token
//	GET  /api/v1/workloads/{w}/capacity        QueryCapacityMeasurements; page_size, page_token
//	GET  /api/v1/workloads/{w}/provisioning    GetProvisioningStatus
//	POST /api/v1/workloads/{w}/pause           PauseProvisioning; {"reason": "...", "actor": "..."}
//	POST /api/v1/workloads/{w}/resume          ResumeProvisioning; {"actor": "..."}
//	GET  /api/v1/workloads/{w}/events          Server-Sent Events, see package live
//
// Answers are protojson with the names of the .proto. An error is {"error": {"code", "message", "backend"}} under the HTTP
// status of its gRPC code.
package gateway

import (
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/workload"
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
	// WriteTimeout is how long a browser may take to accept one event.
	WriteTimeout time.Duration
	// Log of requests that failed on our side.
	Log *slog.Logger
}

type gateway struct {
	Config
	origin *http.CrossOriginProtection
}

// New returns the handler.
func New(cfg Config) http.Handler {
	g := &gateway{Config: cfg, origin: http.NewCrossOriginProtection()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/workloads", g.listWorkloads)
	for path, ask := range map[string]query{
		"windows": g.windows, "recommendation": g.recommendation, "forecast": g.forecast,
		"actions": g.actions, "capacity": g.capacity, "provisioning": g.provisioning,
	} {
		mux.HandleFunc("GET /api/v1/workloads/{workload}/"+path, g.get(ask))
	}
	mux.HandleFunc("POST /api/v1/workloads/{workload}/pause", g.change(g.pause))
	mux.HandleFunc("POST /api/v1/workloads/{workload}/resume", g.change(g.resume))
	mux.HandleFunc("GET /api/v1/workloads/{workload}/events", g.events)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, apiError{Code: "NOT_FOUND", Message: "there is no " + r.Method + " " + r.URL.Path})
	})
	mux.Handle("/", page(cfg.Page))
	return g.guard(mux)
}

// query answers one GET: the name of the backend asked and its answer.
type query func(r *http.Request, workload string) (backend string, answer proto.Message, err error)

func (g *gateway) get(ask query) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, known := g.workload(w, r)
		if !known {
			return
		}
		backend, answer, err := ask(r, name)
		g.reply(w, backend, answer, err)
	}
}

func (g *gateway) reply(w http.ResponseWriter, backend string, answer proto.Message, err error) {
	if err != nil {
		g.fail(w, backend, err)
		return
	}
	body, err := live.JSON.Marshal(answer)
	if err != nil {
		g.fail(w, backend, err)
		return
	}
	writeBody(w, http.StatusOK, body)
}

// workload returns the name in the path, or answers that there is no such workload.
func (g *gateway) workload(w http.ResponseWriter, r *http.Request) (string, bool) {
	name := r.PathValue("workload")
	if _, known := g.Feeds[name]; !known {
		writeError(w, http.StatusNotFound, apiError{Code: "NOT_FOUND", Message: "no such workload: " + name})
		return "", false
	}
	return name, true
}
