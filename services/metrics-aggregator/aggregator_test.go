package aggregator_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

const production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION

// house is a broker and a database; the topics of all tests have the same names, so each test has its own broker.
type house struct {
	kafka    kafka.Config
	database string
}

func newHouse(t *testing.T) house {
	t.Helper()
	cfg := embedded.DefaultBrokerConfig()
	cfg.Listen = "127.0.0.1:0"
	broker, err := embedded.StartBroker(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	h := house{kafka: kafka.Default(), database: embeddedtest.Postgres(t)}
	h.kafka.Brokers = []string{broker.Addr()}
	if err := kafka.EnsureTopics(t.Context(), h.kafka, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	return h
}

// instance is one running aggregator.
type instance struct {
	registry *prometheus.Registry
	admin    *telemetry.Admin
	client   foreshadowv1.HistoryServiceClient
	stop     func()
}

func (h house) start(t *testing.T, instances aggregator.Instances) instance {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	cfg := aggregator.DefaultConfig()
	cfg.Database = workload.Secret(h.database)
	i := instance{registry: registry, admin: telemetry.NewAdmin(registry)}
	service, err := aggregator.New(cfg, aggregator.Deps{
		Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: i.admin, Kafka: h.kafka, Instances: instances, Listener: ln,
		Workloads: []workload.Workload{{Name: "shop", Production: workload.Target{Group: "shop"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	i.client = foreshadowv1.NewHistoryServiceClient(conn)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	var once sync.Once
	i.stop = func() {
		once.Do(func() {
			_ = conn.Close()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v after a clean stop", err)
			}
		})
	}
	t.Cleanup(i.stop)
	return i
}

func message(t *testing.T, topic string, m proto.Message, producer string, sequence uint64) kafka.RawMessage {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.RawMessage{Topic: topic, Key: "shop", Value: value, Meta: kafka.Meta{
		ID: kafka.EventID(producer, sequence), Type: string(m.ProtoReflect().Descriptor().FullName()),
		Source: "/test", Time: time.Now(), ProducerID: producer, Sequence: sequence,
	}}
}

// query reads all production windows from a time on, by start; it waits for a database that is away.
func query(ctx context.Context, client foreshadowv1.HistoryServiceClient, from time.Time) map[time.Time]*foreshadowv1.MetricsWindowed {
	for {
		resp, err := client.QueryWindows(ctx, &foreshadowv1.QueryWindowsRequest{
			Workload: "shop", Environment: production, StartTime: timestamppb.New(from), PageSize: 10000})
		if err == nil || ctx.Err() != nil {
			out := map[time.Time]*foreshadowv1.MetricsWindowed{}
			for _, w := range resp.GetWindows() {
				out[w.StartTime.AsTime()] = w
			}
			return out
		}
	}
}

// awaitRequests follows a stream until the windows hold at least that many requests. A stream that breaks begins again.
func awaitRequests(ctx context.Context, t *testing.T, client foreshadowv1.HistoryServiceClient, from time.Time, want, most uint64) {
	t.Helper()
	seen := map[time.Time]*foreshadowv1.MetricsWindowed{}
	for ctx.Err() == nil {
		stream, err := client.StreamWindows(ctx, &foreshadowv1.StreamWindowsRequest{
			Workload: "shop", StartTime: timestamppb.New(from), Environments: []foreshadowv1.Environment{production}})
		for err == nil {
			var resp *foreshadowv1.StreamWindowsResponse
			if resp, err = stream.Recv(); err != nil {
				break
			}
			if resp.Window.GetTraffic() == nil {
				continue
			}
			seen[resp.Window.StartTime.AsTime()] = resp.Window
			var got uint64
			for _, w := range seen {
				for _, s := range w.GetTraffic().Strata {
					got += s.Requests
				}
			}
			if got > most {
				t.Fatalf("windows hold %d requests, %d are sent", got, most)
			}
			if got >= want {
				return
			}
		}
	}
	t.Fatal("windows never held all requests that were sent")
}

// minute makes observations of a minute, three per second, and the windows they add up to.
func minute(t *testing.T, from time.Time) (messages []kafka.RawMessage, want map[time.Time]metric.Strata, total uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	want = map[time.Time]metric.Strata{}
	for i := range uint64(180) {
		at := from.Add(time.Duration(i/3) * time.Second)
		strata := metric.Strata{}
		c := strata.At(traffic.Stratum{Route: fmt.Sprintf("GET /%d", rng.IntN(3))})
		c.Requests, c.Responses = 1+rng.Uint64N(20), 1
		c.Latency.Add(float64(1+rng.IntN(512)) / 1024)
		total += c.Requests
		if want[at] == nil {
			want[at] = metric.Strata{}
		}
		want[at].Merge(strata)
		messages = append(messages, message(t, kafka.TopicMetricsObserved, &foreshadowv1.MetricsObserved{
			Workload: "shop", Environment: production, Source: "test", StartTime: timestamppb.New(at), DurationSeconds: 1, Traffic: strata.Proto(),
		}, "replicator", i))
	}
	return messages, want, total
}

func TestEveryObservationIsCountedOnceWhateverDies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sender, err := kafka.NewSender(h.kafka, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()

	from := time.Now().UTC().Truncate(time.Second).Add(-3 * 24 * time.Hour)
	messages, want, total := minute(t, from)
	first, second := h.start(t, nil), h.start(t, nil)
	killer, err := pgx.Connect(ctx, h.database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = killer.Close(context.WithoutCancel(ctx)) }()
	for i := 0; i < len(messages); i += 10 {
		// What was sent a moment ago is sent again, as a producer does that was not answered.
		if err := sender.SendRaw(ctx, messages[max(0, i-4):min(i+10, len(messages))]); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // from here on they are at work
			awaitRequests(ctx, t, second.client, from, 1, total)
		}
		if _, err := killer.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		if i == 80 {
			first.stop()
			first = h.start(t, nil)
		}
	}
	awaitRequests(ctx, t, second.client, from, total, total)
	second.stop()

	got := query(ctx, first.client, from)
	for at, strata := range want {
		if diff := cmp.Diff(strata.Proto(), got[at].GetTraffic().GetStrata(), protocmp.Transform()); diff != "" {
			t.Errorf("window at %s (-sent +stored):\n%s", at, diff)
		}
	}
	checkEvents(ctx, t, h, got)
	for _, l := range first.admin.Ledgers() {
		if !l.Balanced() {
			t.Errorf("ledger does not balance: %+v", l)
		}
	}
}

// checkEvents reads the windows' events until the newest revision of each is there, equal to what HistoryService says.
func checkEvents(ctx context.Context, t *testing.T, h house, want map[time.Time]*foreshadowv1.MetricsWindowed) {
	t.Helper()
	newest := map[time.Time]*foreshadowv1.MetricsWindowed{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := kafka.Tail(ctx, kafka.TailConfig{Kafka: h.kafka, Topic: kafka.TopicMetricsWindowed}, func(r kafka.Record) error {
		var w foreshadowv1.MetricsWindowed
		if err := r.Decode(&w); err != nil {
			return err
		}
		if w.GetTraffic() == nil {
			return nil
		}
		if at := w.StartTime.AsTime(); newest[at].GetRevision() <= w.Revision {
			newest[at] = &w
		}
		for at, w := range want {
			if newest[at].GetRevision() < w.Revision {
				return nil
			}
		}
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, newest, protocmp.Transform()); diff != "" {
		t.Errorf("events differ from history (-history +events):\n%s", diff)
	}
}

// steady is a platform with one instance that uses a quarter of a core.
type steady struct{}

func (steady) State(_ context.Context, group string) (platform.State, error) {
	return platform.State{Group: group, Desired: 1, Instances: []platform.Instance{{ID: "a", Phase: platform.Ready}}}, nil
}

func (steady) Usage(context.Context, string) ([]platform.Usage, error) {
	now := time.Now()
	return []platform.Usage{{Instance: "a", Time: now, CPUSeconds: float64(now.UnixNano()) / 4e9, MemoryBytes: 1 << 20, Ready: true}}, nil
}

func TestUsageAndDecisionsReachHistory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sender, err := kafka.NewSender(h.kafka, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	now := timestamppb.Now()
	if err := sender.SendRaw(t.Context(), []kafka.RawMessage{
		message(t, kafka.TopicCapacityMeasured, &foreshadowv1.CapacityMeasured{Workload: "shop", MeasureTime: now, RequestsPerSecond: 65}, "runner", 1),
		message(t, kafka.TopicScalingRecommended, &foreshadowv1.Recommendation{Workload: "shop", CreateTime: now, RecommendationId: "r"}, "predictor", 1),
		message(t, kafka.TopicScalingApplied, &foreshadowv1.ScalingApplied{Workload: "shop", CreateTime: now, ActionId: "x"}, "provisioner", 1),
	}); err != nil {
		t.Fatal(err)
	}
	i := h.start(t, steady{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	awaitRates(ctx, t, i.client, now.AsTime().Add(-time.Minute))
	windows, err := i.client.QueryWindows(ctx, &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production,
		Kind: foreshadowv1.WindowKind_WINDOW_KIND_USAGE, StartTime: timestamppb.New(now.AsTime().Add(-time.Minute))})
	if err != nil {
		t.Fatal(err)
	}
	last := windows.Windows[len(windows.Windows)-1].GetUsage()
	if cpu := last.Instances[0].CpuCores; cpu < 0.249 || cpu > 0.251 || last.ReadyInstances != 1 {
		t.Errorf("usage window %v, want a quarter of a core", last)
	}
	for kind, count := range map[string]func() (int, error){
		"capacity": func() (int, error) {
			r, err := i.client.QueryCapacityMeasurements(ctx, &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: "shop"})
			return len(r.GetMeasurements()), err
		},
		"recommendations": func() (int, error) {
			r, err := i.client.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{Workload: "shop"})
			return len(r.GetRecommendations()), err
		},
		"actions": func() (int, error) {
			r, err := i.client.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{Workload: "shop"})
			return len(r.GetActions()), err
		},
	} {
		n, err := count()
		for ; n == 0 && err == nil && ctx.Err() == nil; n, err = count() {
		}
		if n != 1 || err != nil {
			t.Errorf("%s: %d, %v", kind, n, err)
		}
	}
	checkMetricNames(t, i.registry)
}

// awaitRates follows usage windows until one has rates, which the first cannot have.
func awaitRates(ctx context.Context, t *testing.T, client foreshadowv1.HistoryServiceClient, from time.Time) {
	t.Helper()
	for ctx.Err() == nil {
		stream, err := client.StreamWindows(ctx, &foreshadowv1.StreamWindowsRequest{Workload: "shop", StartTime: timestamppb.New(from)})
		for err == nil { // it breaks while the database is being migrated
			var resp *foreshadowv1.StreamWindowsResponse
			if resp, err = stream.Recv(); err == nil && len(resp.Window.GetUsage().GetInstances()) > 0 {
				return
			}
		}
	}
	t.Fatal("no usage window had rates")
}

// checkMetricNames is for a service that has used them all.
func checkMetricNames(t *testing.T, registry *prometheus.Registry) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "foreshadow_aggregator_") {
			names = append(names, f.GetName())
		}
	}
	want := []string{
		"foreshadow_aggregator_commit_duration_seconds", "foreshadow_aggregator_outbox_events",
		"foreshadow_aggregator_outbox_rejected_total", "foreshadow_aggregator_usage_windows_total",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("metric names are API (-want +got):\n%s", diff)
	}
}

func TestConfigNamesEachFault(t *testing.T) {
	t.Parallel()
	if err := func() error {
		c := aggregator.DefaultConfig()
		c.Database = "postgres://localhost/x"
		return c.Validate()
	}(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	err := aggregator.Config{Listen: "nowhere", Admin: "127.0.0.1:0", Database: "postgres://u:hunter2@:x/", Window: 7 * time.Second, UsageInterval: -1, Retention: 1}.Validate()
	for _, key := range []string{"listen", "database url", "window", "usage_interval", "retention"} {
		if !strings.Contains(fmt.Sprint(err), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "admin:") {
		t.Errorf("%v says too much", err)
	}
}
