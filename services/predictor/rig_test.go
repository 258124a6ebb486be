package predictor_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
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

// own makes a name that no other test, and no earlier run of this one, has written under: they share the topics.
func own(name string) string { return name + "-" + strings.ToLower(rand.Text()[:6]) }

// shop is a workload under its own name.
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
	// ahead is how far the clock was ahead by which the capacity was measured a minute ago.
	ahead time.Duration
	// behind is how many measurements and actions that do not count are newer than those that do.
	behind int
	// hang, when set, keeps every reading waiting until the caller leaves, and is told of it.
	hang chan struct{}
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

func (p *past) QueryCapacityMeasurements(ctx context.Context, req *foreshadowv1.QueryCapacityMeasurementsRequest) (*foreshadowv1.QueryCapacityMeasurementsResponse, error) {
	if p.hang != nil {
		close(p.hang)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	all := make([]*foreshadowv1.CapacityMeasured, p.behind, p.behind+1)
	for i := range all {
		all[i] = capacity(req.GetWorkload(), time.Now().Add(p.ahead), 0)
		all[i].Valid = false
	}
	all = append(all, capacity(req.GetWorkload(), time.Now().Add(p.ahead-time.Minute), 50))
	page, next := pageOf(all, req.GetPageSize(), req.GetPageToken())
	return &foreshadowv1.QueryCapacityMeasurementsResponse{Measurements: page, NextPageToken: next}, nil
}

func (p *past) QueryScalingActions(_ context.Context, req *foreshadowv1.QueryScalingActionsRequest) (*foreshadowv1.QueryScalingActionsResponse, error) {
	all := slices.Repeat([]*foreshadowv1.ScalingApplied{{
		ActionId: "r", Environment: production, Outcome: foreshadowv1.Outcome_OUTCOME_REFUSED, CreateTime: timestamppb.Now(),
	}}, p.behind)
	all = append(all, &foreshadowv1.ScalingApplied{
		ActionId: "a", Environment: production, StartupSeconds: 1.5, CreateTime: timestamppb.New(time.Now().Add(-time.Hour)),
	})
	page, next := pageOf(all, req.GetPageSize(), req.GetPageToken())
	return &foreshadowv1.QueryScalingActionsResponse{Actions: page, NextPageToken: next}, nil
}

// pageOf is the page after a token, which is how many come before it.
func pageOf[T any](all []T, size int32, token string) (page []T, next string) {
	from, _ := strconv.Atoi(token)
	to := min(from+int(size), len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next
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

// capacity is a measurement that holds for an hour.
func capacity(name string, at time.Time, rate float64) *foreshadowv1.CapacityMeasured {
	return &foreshadowv1.CapacityMeasured{
		Workload: name, Valid: true, MeasureTime: timestamppb.New(at), ExpireTime: timestamppb.New(at.Add(time.Hour)),
		RequestsPerSecond: rate, SloLatencySeconds: 0.2, SloQuantile: 0.95,
	}
}

func usage(name string, start time.Time, n int32) *foreshadowv1.MetricsWindowed {
	return &foreshadowv1.MetricsWindowed{
		Workload: name, Environment: production, StartTime: timestamppb.New(start), DurationSeconds: 0.2, Revision: 1,
		Content: &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{
			DesiredInstances: n, ReadyInstances: n, Instances: slices.Repeat([]*foreshadowv1.InstanceUsage{{Ready: true, CpuCores: 0.6}}, int(n)),
		}},
	}
}

// running is a predictor at work.
type running struct {
	admin   *telemetry.Admin
	address string
	stop    func()
}

func start(t *testing.T, k kafka.Config, history string, workloads ...workload.Workload) *running {
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
		Workloads: workloads, Kafka: k, Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: r.admin, Now: time.Now,
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
	tail(t, k, kafka.TopicScalingRecommended, func(r kafka.Record) error {
		m := &foreshadowv1.Recommendation{}
		if err := r.Decode(m); err != nil {
			return err
		}
		if m.GetWorkload() == name {
			out <- m
		}
		return nil
	})
	return out
}

// tail hands every record of a topic to each until the test ends.
func tail(t *testing.T, k kafka.Config, topic string, each func(kafka.Record) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- kafka.Tail(ctx, kafka.TailConfig{Kafka: k, Topic: topic}, each) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
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
	return &producer{Publisher: publisher[*foreshadowv1.MetricsWindowed](t, k, kafka.TopicMetricsWindowed, "/metrics-aggregator")}
}

func publisher[M proto.Message](t *testing.T, k kafka.Config, topic, source string) *kafka.Publisher[M] {
	t.Helper()
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = k, topic, source
	p, err := kafka.NewPublisher[M](cfg)
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
	return p
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
