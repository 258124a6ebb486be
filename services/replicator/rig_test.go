package replicator_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// reported is a platform that reports what the test sets.
type reported struct {
	mu      sync.Mutex
	state   platform.State
	err     error
	failed  int
	changed chan struct{}
}

func newReported() *reported { return &reported{changed: make(chan struct{})} }

func (p *reported) set(instances ...platform.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Instances = instances
	p.state.Revision++
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail reports an error in place of the state.
func (p *reported) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	close(p.changed)
	p.changed = make(chan struct{})
}

// failures is how often the error was reported.
func (p *reported) failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Watch implements replicator.Instances.
func (p *reported) Watch(ctx context.Context, _ string, fn func(platform.State, error)) {
	for {
		p.mu.Lock()
		state, err, changed := p.state, p.err, p.changed
		p.mu.Unlock()
		if err != nil {
			fn(platform.State{}, err)
			p.mu.Lock()
			p.failed++
			p.mu.Unlock()
		} else {
			fn(state, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func ready(id, address string) platform.Instance {
	return platform.Instance{ID: id, Address: address, Phase: platform.Ready}
}

// rig is a replicator in front of real HTTP servers, with a real broker behind it.
type rig struct {
	t        testing.TB
	service  *replicator.Service
	admin    *telemetry.Admin
	platform *reported
	kafka    kafka.Config
	url      string
	client   *http.Client
	cancel   context.CancelFunc
	done     chan error
	stopped  bool
}

type options struct {
	config   func(*replicator.Config)
	workload func(*workload.Workload)
	// broker is the address of a broker; empty starts one.
	broker string
	log    *slog.Logger
}

func start(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, platform: newReported(), done: make(chan error, 1), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	if o.broker == "" {
		o.broker = startBroker(t)
	}
	r.kafka = kafka.Default()
	r.kafka.Brokers = []string{o.broker}
	w := workload.Default()
	w.Name = "shop"
	w.SLO = workload.SLO{Quantile: 0.95, Latency: 5 * time.Second, ErrorRatio: 0.01}
	w.Production.Group = "shop-production"
	w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.SessionCookie = 1, "key", "sid"
	if o.workload != nil {
		o.workload(&w)
	}
	cfg := replicator.DefaultConfig()
	cfg.DrainTimeout = 5 * time.Second
	cfg.CPUBudget = 1 // the tests share the process, and use all there is
	if o.config != nil {
		o.config(&cfg)
	}
	registry := telemetry.NewRegistry()
	r.admin = telemetry.NewAdmin(registry)
	service, err := replicator.New(cfg, replicator.Deps{
		Log: o.log, Registry: registry, Admin: r.admin, Workloads: []workload.Workload{w}, Kafka: r.kafka, Instances: r.platform,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.service = service
	var ln net.Listener
	if mode := cfg.Capture.Mode; mode == replicator.ModeProxy || mode == replicator.ModeMirror {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		r.url = "http://" + ln.Addr().String()
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- service.Serve(ctx, ln) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends the replicator; then all that it publishes is published.
func (r *rig) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	r.client.CloseIdleConnections()
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("replicator stopped with %v", err)
	}
}

func startBroker(t testing.TB) string {
	t.Helper()
	cfg := embedded.DefaultBrokerConfig()
	cfg.Listen = "127.0.0.1:0"
	broker, err := embedded.StartBroker(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	k := kafka.Default()
	k.Brokers = []string{broker.Addr()}
	if err := kafka.EnsureTopics(t.Context(), k, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	return broker.Addr()
}

// serve runs an instance.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func address(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func (r *rig) use(servers ...*httptest.Server) {
	instances := make([]platform.Instance, len(servers))
	for i, s := range servers {
		instances[i] = ready(fmt.Sprint(i), address(s))
	}
	r.platform.set(instances...)
}

// useNow is use that returns when requests go there: those that come before go by net/http, and so do all that follow on their
// connections.
func (r *rig) useNow(addresses ...string) {
	r.t.Helper()
	instances := make([]platform.Instance, len(addresses))
	for i, a := range addresses {
		instances[i] = ready(a, a)
	}
	r.platform.set(instances...)
	want := fmt.Sprintf("\nforeshadow_replicator_ready_instances %d\n", len(addresses))
	waitFor(r.t, "these instances", func() bool { return strings.Contains(r.metrics(), want) })
}

// ledger returns one hop's ledger.
func (r *rig) ledger(hop string) metric.Ledger {
	r.t.Helper()
	for _, l := range r.admin.Ledgers() {
		if l.Hop == hop {
			return l
		}
	}
	r.t.Fatalf("no ledger of hop %s", hop)
	return metric.Ledger{}
}

// metrics returns the admin page.
func (r *rig) metrics() string {
	rec := httptest.NewRecorder()
	r.admin.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

// records reads a whole topic.
func (r *rig) records(topic string) []kafka.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var records []kafka.Record
	caughtUp := false
	err := kafka.Tail(ctx, kafka.TailConfig{
		Kafka: r.kafka, Topic: topic, CaughtUp: func() { caughtUp = true; cancel() },
	}, func(rec kafka.Record) error { records = append(records, rec); return nil })
	if err != nil || !caughtUp {
		r.t.Fatalf("read %s: %v, to its end: %v", topic, err, caughtUp)
	}
	return records
}

func decode[M proto.Message](t testing.TB, records []kafka.Record, newMessage func() M) []M {
	t.Helper()
	out := make([]M, len(records))
	for i, rec := range records {
		out[i] = newMessage()
		if err := rec.Decode(out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// captured stops the replicator and returns the copies it published.
func (r *rig) captured() []*foreshadowv1.CapturedRequest {
	r.t.Helper()
	r.stop()
	return decode(r.t, r.records(kafka.TopicTrafficCaptured), func() *foreshadowv1.CapturedRequest { return &foreshadowv1.CapturedRequest{} })
}

// observed stops the replicator and returns all that it observed: the observations and their sum.
func (r *rig) observed() ([]*foreshadowv1.MetricsObserved, metric.Strata) {
	r.t.Helper()
	r.stop()
	list := decode(r.t, r.records(kafka.TopicMetricsObserved), func() *foreshadowv1.MetricsObserved { return &foreshadowv1.MetricsObserved{} })
	sum := metric.Strata{}
	for _, m := range list {
		strata, err := metric.StrataFromProto(m.GetTraffic())
		if err != nil {
			r.t.Fatal(err)
		}
		sum.Merge(strata)
	}
	return list, sum
}
