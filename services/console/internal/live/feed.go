// Package live keeps one subscription per workload to the services upstream, holds the newest stretch of what they say,
// and fans it out to any number of browsers.
//
// A browser gets a snapshot and then only what changed. Every source fails apart from the others: what is away is reported
// with its reason while the rest goes on, and what was already known stays on the page.
package live

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// Sources, as they are named in events and problems.
const (
	SourceWindows         = "windows"
	SourceRecommendations = "recommendations"
	SourceForecast        = "forecast"
	SourceActions         = "actions"
	SourceCapacity        = "capacity"
	SourceProvisioning    = "provisioning"
	SourceExperiments     = "experiments"
)

// Why a browser cannot be connected.
var (
	// ErrTooMany clients are connected already.
	ErrTooMany = errors.New("too many browsers")
	// ErrEnded: the console is stopping.
	ErrEnded = errors.New("console is stopping")
)

// Options of a feed.
type Options struct {
	// Retention is how far back the feed remembers.
	Retention time.Duration
	// MaxClients bounds the browsers.
	MaxClients int
	// Pace is the base of all polling: forecasts each Pace, actions and status each 2, measurements and experiments each 5.
	// It is also the wait before a stream is opened again. Nothing is polled while no browser is connected.
	Pace time.Duration
}

// Metrics count what the feeds of all workloads do.
type Metrics struct {
	// Clients connected now.
	Clients prometheus.Gauge
	// Slow clients disconnected.
	Slow prometheus.Counter
	// Failures of calls upstream, by source.
	Failures *prometheus.CounterVec
}

// Feed is the live view of one workload.
type Feed struct {
	workload workload.Workload
	up       upstream.Clients
	opts     Options
	metrics  Metrics
	log      *slog.Logger

	mu      sync.Mutex
	state   *state
	clients map[*Client]struct{}
	looked  chan struct{} // closed and replaced when the first browser comes
	ended   bool
}

// NewFeed returns a feed that is silent until Run.
func NewFeed(w workload.Workload, up upstream.Clients, opts Options, m Metrics, log *slog.Logger) *Feed {
	return &Feed{
		workload: w, up: up, opts: opts, metrics: m, log: log.With("workload", w.Name),
		state: newState(opts.Retention, w.SLO.Quantile), clients: map[*Client]struct{}{}, looked: make(chan struct{}),
	}
}

// Backends tells the browsers which backends can be reached.
func (f *Feed) Backends(states []upstream.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.backends = states
	f.send("status", f.state.status())
}

// Run follows all sources until ctx ends, then disconnects every browser.
func (f *Feed) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { f.follow(ctx, SourceWindows, upstream.History, f.windows) })
	wg.Go(func() { f.follow(ctx, SourceRecommendations, upstream.Predictor, f.recommendations) })
	for _, p := range f.polls() {
		wg.Go(func() { f.poll(ctx, p) })
	}
	wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for c := range f.clients {
		f.drop(c)
	}
}

// follow keeps a stream open: it opens it again one Pace after it ended, for whatever reason.
func (f *Feed) follow(ctx context.Context, source, backend string, stream func(context.Context) error) {
	for {
		// What stream gave up on must end before the next one begins.
		one, cancel := context.WithCancel(ctx)
		err := stream(one)
		cancel()
		if ctx.Err() != nil {
			return
		}
		f.report(source, backend, err)
		if !pause(ctx, f.opts.Pace) {
			return
		}
	}
}

func (f *Feed) windows(ctx context.Context) error {
	if err := f.pastRecommendations(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	from := f.state.lastStart(time.Now())
	f.mu.Unlock()
	stream, err := f.up.History.StreamWindows(ctx, &foreshadowv1.StreamWindowsRequest{
		Workload: f.workload.Name, StartTime: timestamppb.New(from),
	})
	if err != nil {
		return err
	}
	// The header comes when the server has accepted the stream; silence after it is silence, not absence.
	if _, err := stream.Header(); err != nil {
		return err
	}
	f.report(SourceWindows, upstream.History, nil)
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		f.mu.Lock()
		name, event, err := f.state.window(resp.GetWindow())
		if event != nil {
			f.send(name, event)
		}
		f.mu.Unlock()
		if err != nil {
			f.metrics.Failures.WithLabelValues(SourceWindows).Inc()
			f.log.Warn("window refused", "err", err)
		}
	}
}

// pastRecommendations fills in what was decided while nobody watched.
func (f *Feed) pastRecommendations(ctx context.Context) error {
	resp, err := f.up.History.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{
		Workload: f.workload.Name, PageSize: keptRecommendations,
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	added := false
	for _, r := range resp.GetRecommendations() {
		isNew, _ := f.state.recs.put(r)
		added = added || isNew
	}
	if added {
		f.sendSnapshot()
	}
	return nil
}

func (f *Feed) recommendations(ctx context.Context) error {
	stream, err := f.up.Recommendations.WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{Workload: f.workload.Name})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		f.report(SourceRecommendations, upstream.Predictor, nil)
		f.recommended(resp.GetRecommendation())
	}
}

func (f *Feed) recommended(r *foreshadowv1.Recommendation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, newest := f.state.recs.put(r); !newest {
		return
	}
	event, err := f.state.recommended()
	if err != nil {
		f.log.Error("event not encoded", "event", "recommendation", "err", err)
		return
	}
	f.send("recommendation", event)
}

// report tells the browsers when a source begins to fail, fails otherwise, or works again.
func (f *Feed) report(source, backend string, err error) {
	var p *Problem
	if err != nil {
		f.metrics.Failures.WithLabelValues(source).Inc()
		s := status.Convert(err)
		p = &Problem{Backend: backend, Code: CodeName(s.Code()), Message: s.Message(), Since: time.Now()}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.problem(source, p) {
		f.send("status", f.state.status())
	}
}

// pause waits; it reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// CodeName is the name of a gRPC code as in the specification, for example NOT_FOUND.
func CodeName(c codes.Code) string {
	if name, known := codeNames[c]; known {
		return name
	}
	return "UNKNOWN"
}

var codeNames = map[codes.Code]string{
	codes.Canceled: "CANCELLED", codes.InvalidArgument: "INVALID_ARGUMENT", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
	codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS", codes.PermissionDenied: "PERMISSION_DENIED",
	codes.ResourceExhausted: "RESOURCE_EXHAUSTED", codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED",
	codes.OutOfRange: "OUT_OF_RANGE", codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL",
	codes.Unavailable: "UNAVAILABLE", codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}
