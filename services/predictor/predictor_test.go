package predictor_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

const production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION

// broker gives the client configuration of a real broker with all topics.
func broker(t *testing.T) kafka.Config {
	t.Helper()
	cfg := kafka.Default()
	cfg.Brokers = []string{embeddedtest.Broker(t)}
	if err := kafka.EnsureTopics(t.Context(), cfg, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// shop is a workload under its own name: the tests of this package share the topics.
func shop(name string) workload.Workload {
	w := workload.Default()
	w.Name = name
	w.SLO = workload.SLO{Quantile: 0.95, Latency: 200 * time.Millisecond}
	w.Instances = workload.Limits{Min: 1, Max: 30}
	w.Policy.Interval, w.Policy.Startup = 200*time.Millisecond, time.Second
	w.Policy.ScaleDownAfter, w.Policy.History = 2*time.Second, 4*time.Minute
	return w
}

// serveHistory answers on address (or on any, when it ends in :0) until the test ends.
func serveHistory(t *testing.T, address string, h *past) string {
	t.Helper()
	ln, err := rpc.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(slog.New(slog.DiscardHandler))
	foreshadowv1.RegisterHistoryServiceServer(s, h)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// past is a HistoryService over windows in memory.
type past struct {
	foreshadowv1.UnimplementedHistoryServiceServer
	mu         sync.Mutex
	windows    []*foreshadowv1.MetricsWindowed // traffic totals, as wide as the step, oldest first
	generation uint64
	reads      int
}

func (p *past) add(w ...*foreshadowv1.MetricsWindowed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.windows = append(p.windows, w...)
	slices.SortFunc(p.windows, func(a, b *foreshadowv1.MetricsWindowed) int {
		return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime())
	})
}

// QueryWindows pages by 100, so that the reader has to follow the tokens.
func (p *past) QueryWindows(_ context.Context, req *foreshadowv1.QueryWindowsRequest) (*foreshadowv1.QueryWindowsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	resp := &foreshadowv1.QueryWindowsResponse{}
	for _, w := range p.windows {
		start := w.GetStartTime().AsTime()
		if start.Before(req.GetStartTime().AsTime()) || !start.Before(req.GetEndTime().AsTime()) || start.Format(time.RFC3339Nano) <= req.GetPageToken() {
			continue
		}
		if len(resp.Windows) == 100 {
			resp.NextPageToken = resp.Windows[99].GetStartTime().AsTime().Format(time.RFC3339Nano)
			break
		}
		resp.Windows = append(resp.Windows, w)
	}
	return resp, nil
}

func (p *past) QueryCapacityMeasurements(_ context.Context, req *foreshadowv1.QueryCapacityMeasurementsRequest) (*foreshadowv1.QueryCapacityMeasurementsResponse, error) {
	return &foreshadowv1.QueryCapacityMeasurementsResponse{Measurements: []*foreshadowv1.CapacityMeasured{{
		Workload: req.GetWorkload(), Valid: true, MeasureTime: timestamppb.New(time.Now().Add(-time.Minute)), RequestsPerSecond: 50,
		ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), SloLatencySeconds: 0.2, SloQuantile: 0.95,
	}}}, nil
}

func (p *past) QueryScalingActions(context.Context, *foreshadowv1.QueryScalingActionsRequest) (*foreshadowv1.QueryScalingActionsResponse, error) {
	return &foreshadowv1.QueryScalingActionsResponse{Actions: []*foreshadowv1.ScalingApplied{{
		ActionId: "a", Environment: production, StartupSeconds: 1.5, CreateTime: timestamppb.New(time.Now().Add(-time.Hour)),
	}}}, nil
}

func (p *past) QueryRecommendations(context.Context, *foreshadowv1.QueryRecommendationsRequest) (*foreshadowv1.QueryRecommendationsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation == 0 {
		return &foreshadowv1.QueryRecommendationsResponse{}, nil
	}
	return &foreshadowv1.QueryRecommendationsResponse{Recommendations: []*foreshadowv1.Recommendation{{Generation: p.generation}}}, nil
}

func window(name string, start time.Time, requests uint64) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: name, Environment: production, StartTime: timestamppb.New(start), DurationSeconds: 0.2, Revision: 1,
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{Strata: []*foreshadowv1.Traffic{
			{Stratum: &foreshadowv1.Stratum{Route: "GET /"}, Requests: requests},
		}}},
	}
}

func usage(name string, start time.Time, n int32) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: name, Environment: production, StartTime: timestamppb.New(start), DurationSeconds: 0.2, Revision: 1,
		Content: &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{DesiredInstances: n, ReadyInstances: n}},
	}
}

// running is a predictor at work.
type running struct {
	admin   *telemetry.Admin
	address string
	stop    func()
}

func start(t *testing.T, k kafka.Config, history string, w workload.Workload) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := predictor.DefaultConfig()
	cfg.Listen, cfg.History = ln.Addr().String(), history
	_ = ln.Close()
	registry := prometheus.NewRegistry()
	r := &running{admin: telemetry.NewAdmin(registry), address: cfg.Listen}
	s, err := predictor.New(cfg, predictor.Deps{
		Workloads: []workload.Workload{w}, Kafka: k, Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: r.admin, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v after a clean stop", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// recommendations of one workload, as they appear on the topic.
func recommendations(t *testing.T, k kafka.Config, name string) <-chan *foreshadowv1.Recommendation {
	t.Helper()
	out := make(chan *foreshadowv1.Recommendation, 1000)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- kafka.Tail(ctx, kafka.TailConfig{Kafka: k, Topic: kafka.TopicScalingRecommended}, func(r kafka.Record) error {
			m := &foreshadowv1.Recommendation{}
			if err := r.Decode(m); err != nil {
				return err
			}
			if m.GetWorkload() == name {
				out <- m
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out
}

// await returns the first recommendation that fulfils a condition; generations must grow on the way.
func await(t *testing.T, from <-chan *foreshadowv1.Recommendation, last *uint64, what string, is func(*foreshadowv1.Recommendation) bool) *foreshadowv1.Recommendation {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case r := <-from:
			if r.GetGeneration() <= *last {
				t.Fatalf("generation %d after %d", r.GetGeneration(), *last)
			}
			*last = r.GetGeneration()
			if is(r) {
				return r
			}
		case <-deadline:
			t.Fatalf("no recommendation %s", what)
		}
	}
}

// producer writes windows as the aggregator's relay does.
type producer struct {
	*kafka.Publisher[*foreshadowv1.MetricsWindowed]
}

func produce(t *testing.T, k kafka.Config) *producer {
	t.Helper()
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = k, kafka.TopicMetricsWindowed, "/metrics-aggregator"
	p, err := kafka.NewPublisher[*foreshadowv1.MetricsWindowed](cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &producer{Publisher: p}
}

func (p *producer) send(windows ...*foreshadowv1.MetricsWindowed) {
	for _, w := range windows {
		p.Publish(w.GetWorkload(), w)
	}
}

// ready is what /readyz says; empty when the predictor is ready.
func ready(t *testing.T, r *running) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.admin.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code == http.StatusOK {
		return ""
	}
	return w.Body.String()
}

// live sends a window of each kind in every interval, at 100 requests per second, until stopped.
func live(t *testing.T, p *producer, h *past, name string) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			at := metric.WindowStart(time.Now(), 200*time.Millisecond).Add(-200 * time.Millisecond)
			w := window(name, at, 20)
			h.add(w)
			p.send(w, usage(name, at, 3))
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	t.Cleanup(stop)
	return stop
}

// wave is a past of which one half-minute is like the other: 20 s quiet, 10 s busy.
func wave(name string, until time.Time, length time.Duration) []*foreshadowv1.MetricsWindowed {
	var out []*foreshadowv1.MetricsWindowed
	for at := metric.WindowStart(until.Add(-length), 200*time.Millisecond); at.Before(until); at = at.Add(200 * time.Millisecond) {
		n := uint64(20)
		if at.Unix()%30 >= 20 {
			n = 60
		}
		out = append(out, window(name, at, n))
	}
	return out
}

func TestWindowsInRecommendationsOutOverARestart(t *testing.T) {
	t.Parallel()
	const name = "restart"
	k, h := broker(t), &past{}
	h.add(wave(name, time.Now(), 4*time.Minute)...)
	address := serveHistory(t, "127.0.0.1:0", h)
	out, p := recommendations(t, k, name), produce(t, k)
	stopLive := live(t, p, h, name)
	// The topic is shared with other tests: what is not ours must be left out, with its reason.
	odd := window(name, time.Now(), 1)
	odd.DurationSeconds = 0
	shadow := usage(name, time.Now(), 1)
	shadow.Environment = foreshadowv1.Environment_ENVIRONMENT_SHADOW
	p.send(odd, shadow, window("nobody", time.Now(), 1))

	first := start(t, k, address, shop(name))
	var last uint64
	r := await(t, out, &last, "with demand, capacity, start-up and forecast", func(r *foreshadowv1.Recommendation) bool {
		e := r.GetEvidence()
		return e.GetDemandPerSecond() > 0 && e.GetCapacityPerSecond() == 50 && e.GetStartupSeconds() == 1.5 && e.GetForecastPerSecond() > 0
	})
	if r.GetProduction().GetInstances() < 3 || r.GetEvidence().GetReadyInstances() != 3 || len(r.GetReasons()) == 0 {
		t.Errorf("at 100 requests/s and 50 per instance: %v", r)
	}
	watchedGet(t, first, name)
	first.stop()
	balance(t, first)

	// The predecessor's clock was ahead: the successor must go on above it all the same.
	h.mu.Lock()
	h.generation = uint64(time.Now().Add(time.Hour).UnixNano())
	floor := h.generation
	h.mu.Unlock()
	second := start(t, k, address, shop(name))
	await(t, out, &last, "above the generation that history knows", func(r *foreshadowv1.Recommendation) bool { return r.GetGeneration() > floor })
	stopLive()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.stop()
	balance(t, second)
}

// watchedGet asks the predictor itself; a watch that is held open must not delay its stop.
func watchedGet(t *testing.T, r *running, name string) {
	t.Helper()
	conn, err := rpc.Dial(r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := foreshadowv1.NewRecommendationServiceClient(conn)
	if _, err := client.GetRecommendation(t.Context(), &foreshadowv1.GetRecommendationRequest{Workload: name}); err != nil {
		t.Error(err)
	}
	watch, err := client.WatchRecommendations(t.Context(), &foreshadowv1.WatchRecommendationsRequest{Workload: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	for err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
}

// balance checks the ledger and that every window left out has its reason.
func balance(t *testing.T, r *running) {
	t.Helper()
	for _, l := range r.admin.Ledgers() {
		if l.Hop != "predictor/windows" {
			continue
		}
		if !l.Balanced() || l.Pending != 0 || l.Passed == 0 {
			t.Errorf("ledger %+v", l)
		}
		for _, reason := range []string{"unreadable", "not_production", "unknown_workload"} {
			if l.Dropped[reason] == 0 {
				t.Errorf("nothing dropped as %s: %+v", reason, l)
			}
		}
		return
	}
	t.Error("no ledger predictor/windows")
}

func TestStartsWithoutHistoryAndRecovers(t *testing.T) {
	t.Parallel()
	const name = "away"
	k, h := broker(t), &past{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	out, p := recommendations(t, k, name), produce(t, k)
	live(t, p, h, name)
	r := start(t, k, address, shop(name))
	var last uint64
	await(t, out, &last, "without history", func(r *foreshadowv1.Recommendation) bool {
		return r.GetEvidence().GetDemandPerSecond() > 0 && r.GetEvidence().GetCapacityPerSecond() == 0
	})
	if got := ready(t, r); !strings.Contains(got, "history of away") || !strings.Contains(got, address) {
		t.Errorf("readiness says %q, want the part and the address %s", got, address)
	}
	h.add(wave(name, time.Now().Add(-time.Minute), 3*time.Minute)...)
	serveHistory(t, address, h)
	await(t, out, &last, "from history", func(r *foreshadowv1.Recommendation) bool {
		return r.GetEvidence().GetCapacityPerSecond() == 50 && r.GetEvidence().GetForecastPerSecond() > 0
	})
	if got := ready(t, r); got != "" {
		t.Errorf("not ready after history came back: %s", got)
	}
	// Windows of the past come late: history is read once more, for they are in no recent step.
	h.mu.Lock()
	before := h.reads
	h.mu.Unlock()
	p.send(window(name, time.Now().Add(-200*time.Second), 20))
	await(t, out, &last, "after history was read anew", func(*foreshadowv1.Recommendation) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.reads > before
	})
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := predictor.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := predictor.Config{Listen: "9103", Admin: "127.0.0.1:1"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "predictor.listen: want host:port") || !strings.Contains(err.Error(), "predictor.history: is missing") {
		t.Errorf("Validate = %v", err)
	}
	if _, err := predictor.New(predictor.Config{}, predictor.Deps{}); err == nil {
		t.Error("New took an empty configuration")
	}
}

// recorder is a Registerer that knows the names it was given.
type recorder struct{ names []string }

func (r *recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		r.names = append(r.names, name)
	}
	return nil
}

func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = r.Register(c)
	}
}

func (r *recorder) Unregister(prometheus.Collector) bool { return false }

// TestMetricNames lists every metric of the service: dashboards and alerts know them by name.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	if _, err := predictor.New(predictor.DefaultConfig(), predictor.Deps{
		Workloads: []workload.Workload{shop("shop")}, Kafka: kafka.Default(), Log: slog.New(slog.DiscardHandler),
		Registry: r, Admin: telemetry.NewAdmin(prometheus.NewRegistry()), Now: time.Now,
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.names)
	want := []string{
		"foreshadow_kafka_dropped_total",
		"foreshadow_kafka_published_total",
		"foreshadow_kafka_queue_bytes",
		"foreshadow_predictor_capacity_requests_per_second",
		"foreshadow_predictor_demand_requests_per_second",
		"foreshadow_predictor_forecast_requests_per_second",
		"foreshadow_predictor_forecast_trusted",
		"foreshadow_predictor_recommendations_total",
		"foreshadow_predictor_recommended_instances",
	}
	if diff := cmp.Diff(want, r.names); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
