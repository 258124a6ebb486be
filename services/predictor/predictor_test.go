package predictor_test

import (
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor"
)

func TestWindowsInRecommendationsOutOverARestart(t *testing.T) {
	t.Parallel()
	name := own("restart")
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
	// An aggregator's clock was ahead for a moment: what was said of then is not the newest for an hour.
	p.send(odd, shadow, window("nobody", time.Now(), 1), usage(name, time.Now().Add(time.Hour), 30), window(name, time.Now().Add(time.Hour), 1))

	first := start(t, k, address, shop(name))
	var last uint64
	r := await(t, out, &last, "with demand, capacity, start-up and forecast", func(r *foreshadowv1.Recommendation) bool {
		e := r.GetEvidence()
		return e.GetDemandPerSecond() > 0 && e.GetCapacityPerSecond() == 50 && e.GetStartupSeconds() == 1.5 && e.GetForecastPerSecond() > 0
	})
	if r.GetProduction().GetInstances() < 3 || r.GetEvidence().GetReadyInstances() != 3 || len(r.GetReasons()) == 0 {
		t.Errorf("at 100 requests/s and 50 per instance: %v", r)
	}
	await(t, out, &last, "after every odd window was left out", leftOut(first))
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
	await(t, out, &last, "after every odd window was left out again", leftOut(second))
	stopLive()
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

// windowLedger is the account of the windows that came.
func windowLedger(r *running) metric.Ledger {
	for _, l := range r.admin.Ledgers() {
		if l.Hop == "predictor/windows" {
			return l
		}
	}
	return metric.Ledger{}
}

// leftOut says whether a window was left out for each reason there is one for. Each partition comes in its own time.
func leftOut(r *running) func(*foreshadowv1.Recommendation) bool {
	return func(*foreshadowv1.Recommendation) bool {
		dropped := windowLedger(r).Dropped
		return dropped["unreadable"] > 0 && dropped["not_production"] > 0 && dropped["unknown_workload"] > 0 && dropped["ahead"] > 0
	}
}

func balance(t *testing.T, r *running) {
	t.Helper()
	if l := windowLedger(r); !l.Balanced() || l.Pending != 0 || l.Passed == 0 {
		t.Errorf("ledger %+v", l)
	}
}

func TestStartsWithoutHistoryAndRecovers(t *testing.T) {
	t.Parallel()
	name := own("away")
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
	await(t, out, &last, "while readiness says which part is away, and its address", func(*foreshadowv1.Recommendation) bool {
		got := ready(t, r)
		return strings.Contains(got, "history of "+name) && strings.Contains(got, address)
	})
	h.add(wave(name, time.Now().Add(-time.Minute), 3*time.Minute)...)
	serveHistory(t, address, h)
	await(t, out, &last, "from history", func(r *foreshadowv1.Recommendation) bool {
		return r.GetEvidence().GetCapacityPerSecond() == 50 && r.GetEvidence().GetForecastPerSecond() > 0
	})
	await(t, out, &last, "while ready", func(*foreshadowv1.Recommendation) bool { return ready(t, r) == "" })
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

func TestEveryOneOfManyWorkloadsIsDecided(t *testing.T) {
	t.Parallel()
	k, h := broker(t), &past{}
	var workloads []workload.Workload
	for range 100 {
		workloads = append(workloads, shop(own("many")))
	}
	p := produce(t, k)
	r := start(t, k, serveHistory(t, "127.0.0.1:0", h), workloads...)
	for _, w := range workloads {
		p.send(usage(w.Name, time.Now(), 3))
	}
	for _, w := range workloads {
		if got := awaitOf(t, r, w.Name, "at all", func(*foreshadowv1.Recommendation) bool { return true }); got.GetProduction().GetInstances() < 3 {
			t.Errorf("3 instances run without data: %v", got)
		}
	}
}

// TestACapacityOfTheFutureGivesWayToTheNext: also where history still has it, whose newest it stays.
func TestACapacityOfTheFutureGivesWayToTheNext(t *testing.T) {
	t.Parallel()
	name := own("ahead")
	k, h := broker(t), &past{ahead: 30 * time.Minute}
	out, p := recommendations(t, k, name), produce(t, k)
	measured := publisher[*foreshadowv1.CapacityMeasured](t, k, kafka.TopicCapacityMeasured, "/shadow-runner")
	live(t, p, h, name)
	start(t, k, serveHistory(t, "127.0.0.1:0", h), shop(name))
	var last uint64
	of := func(rate float64) func(*foreshadowv1.Recommendation) bool {
		return func(r *foreshadowv1.Recommendation) bool { return r.GetEvidence().GetCapacityPerSecond() == rate }
	}
	await(t, out, &last, "with the capacity of history", of(50))
	measured.Publish(name, capacity(name, time.Now().AddDate(1, 0, 0), 70))
	await(t, out, &last, "with the capacity of next year", of(70))
	measured.Publish(name, capacity(name, time.Now(), 60))
	await(t, out, &last, "with the capacity of now", of(60))
	floor := uint64(time.Now().Add(time.Hour).UnixNano())
	h.mu.Lock()
	h.generation = floor // is read after the capacity
	h.mu.Unlock()
	p.send(window(name, time.Now().Add(-200*time.Second), 20))
	r := await(t, out, &last, "after history was read anew", func(r *foreshadowv1.Recommendation) bool { return r.GetGeneration() > floor })
	if got := r.GetEvidence().GetCapacityPerSecond(); got != 60 {
		t.Errorf("capacity %v after history was read anew, want that of now", got)
	}
}

func TestStartsWithFactsThatLieFarBehind(t *testing.T) {
	t.Parallel()
	name := own("behind")
	k, h := broker(t), &past{behind: 250}
	out, p := recommendations(t, k, name), produce(t, k)
	live(t, p, h, name)
	start(t, k, serveHistory(t, "127.0.0.1:0", h), shop(name))
	var last uint64
	await(t, out, &last, "with the capacity and the start-up from before 250 that do not count", func(r *foreshadowv1.Recommendation) bool {
		return r.GetEvidence().GetCapacityPerSecond() == 50 && r.GetEvidence().GetStartupSeconds() == 1.5
	})
}

func TestDecidesWhileHistoryHangs(t *testing.T) {
	t.Parallel()
	name := own("hangs")
	k, h := broker(t), &past{hang: make(chan struct{})}
	address := serveHistory(t, "127.0.0.1:0", h)
	out, p := recommendations(t, k, name), produce(t, k)
	start(t, k, address, shop(name))
	<-h.hang
	live(t, p, h, name)
	var last uint64
	for range 3 {
		await(t, out, &last, "while history hangs", func(r *foreshadowv1.Recommendation) bool { return r.GetEvidence().GetDemandPerSecond() > 0 })
	}
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
	r.names = slices.Compact(r.names) // each publisher has the same, and is told apart by its topic
	want := []string{
		"foreshadow_kafka_dropped_total",
		"foreshadow_kafka_published_total",
		"foreshadow_kafka_queue_bytes",
		"foreshadow_predictor_capacity_requests_per_second",
		"foreshadow_predictor_demand_requests_per_second",
		"foreshadow_predictor_forecast_coverage_ratio",
		"foreshadow_predictor_forecast_error_requests_per_second",
		"foreshadow_predictor_forecast_reactive_error_requests_per_second",
		"foreshadow_predictor_forecast_requests_per_second",
		"foreshadow_predictor_forecast_scored_steps",
		"foreshadow_predictor_forecast_skill_ratio",
		"foreshadow_predictor_forecast_trusted",
		"foreshadow_predictor_memory_recalled_age_seconds",
		"foreshadow_predictor_paper_played_seconds",
		"foreshadow_predictor_recommendations_total",
		"foreshadow_predictor_recommended_instances",
	}
	if diff := cmp.Diff(want, r.names); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
