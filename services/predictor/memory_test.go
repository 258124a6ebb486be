package predictor_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// budgeted is a shop that may cost what the HPA would. It knows what can be had for that after a seventh of half a minute.
func budgeted(name string) workload.Workload {
	w := shop(name)
	w.Production.CPUCores = 1
	w.Policy.Budget, w.Policy.History = 1, time.Minute
	return w
}

const enough = 30 * time.Second / 7

// awaitOf returns the first recommendation of one predictor, asked itself, that fulfils a condition.
func awaitOf(t *testing.T, r *running, name, what string, is func(*foreshadowv1.Recommendation) bool) *foreshadowv1.Recommendation {
	t.Helper()
	conn, err := rpc.Dial(r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := foreshadowv1.NewRecommendationServiceClient(conn)
	var generation uint64
	var last *foreshadowv1.Recommendation
	for {
		watch, err := client.WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{Workload: name, AfterGeneration: generation})
		for err == nil {
			var resp *foreshadowv1.WatchRecommendationsResponse
			if resp, err = watch.Recv(); err == nil {
				last = resp.GetRecommendation()
				if generation = last.GetGeneration(); is(last) {
					return last
				}
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("no recommendation %s: %v, the last was %v", what, err, last)
		}
	}
}

func because(r *foreshadowv1.Recommendation, code string) bool {
	for _, reason := range r.GetReasons() {
		if reason.GetCode() == code {
			return true
		}
	}
	return false
}

// compared says whether a decision knew all that fleets on paper are compared by.
func compared(r *foreshadowv1.Recommendation) bool {
	e := r.GetEvidence()
	return e.GetCapacityPerSecond() > 0 && e.GetForecastMeanPerSecond() > 0 && e.GetDemandPerSecond() > 0 && r.GetHpaInstances() > 0
}

// unknown says whether a decision knew all that, and yet had seen too little of it.
func unknown(r *foreshadowv1.Recommendation) bool {
	return compared(r) && because(r, "hpa_until_known")
}

// memories of one workload, as they appear on the topic, with how much each played; 0 for one that cannot be read.
func memories(t *testing.T, k kafka.Config, name string) <-chan time.Duration {
	t.Helper()
	out := make(chan time.Duration, 1000)
	tail(t, k, kafka.TopicScalingRemembered, func(r kafka.Record) error {
		m := &foreshadowv1.ScalingRemembered{}
		if err := r.Decode(m); err != nil {
			return err
		}
		if m.GetWorkload() != name || r.Key != name {
			return nil
		}
		var s scaling.State
		_ = s.UnmarshalBinary(m.GetState())
		out <- s.Played()
		return nil
	})
	return out
}

// awaitPlayed returns the first memory that has played for longer than some time.
func awaitPlayed(t *testing.T, from <-chan time.Duration, least time.Duration) time.Duration {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case played := <-from:
			if played > least {
				return played
			}
		case <-deadline:
			t.Fatalf("no memory that has played for %s", least)
		}
	}
}

func metrics(t *testing.T, r *running) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.admin.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("metrics: %d, %v", w.Code, err)
	}
	return string(body)
}

// A predictor goes on with the verdict that the one before had: when that one did not end, as after kill -9 or when another
// replica takes over, and when it ended as it should.
func TestWhatWasLearntOutlivesThePredictor(t *testing.T) {
	t.Parallel()
	name := own("memory")
	k, h := broker(t), &past{}
	h.add(wave(name, time.Now(), 4*time.Minute)...)
	address := serveHistory(t, "127.0.0.1:0", h)
	kept, out := memories(t, k, name), recommendations(t, k, name)
	live(t, produce(t, k), h, name)

	first := start(t, k, address, budgeted(name))
	var last uint64
	await(t, out, &last, "that says too little was seen", unknown)
	awaitPlayed(t, kept, 2*enough) // some of it fades on the way
	if strings.Contains(metrics(t, first), `memory_recalled_age_seconds{workload="`+name) {
		t.Error("the first went on from something")
	}

	goesOn := func(r *running, what string) {
		t.Helper()
		awaitOf(t, r, name, what, func(r *foreshadowv1.Recommendation) bool {
			if because(r, "hpa_until_known") {
				t.Fatalf("%s: nothing is known any more: %v", what, r.GetReasons())
			}
			return compared(r)
		})
		if got := metrics(t, r); !strings.Contains(got, `foreshadow_predictor_memory_recalled_age_seconds{workload="`+name) ||
			!strings.Contains(got, `foreshadow_predictor_paper_played_seconds{workload="`+name) {
			t.Errorf("%s: metrics do not say what it went on from", what)
		}
	}
	second := start(t, k, address, budgeted(name))
	goesOn(second, "beside one that runs")
	first.stop()
	second.stop()
	third := start(t, k, address, budgeted(name))
	goesOn(third, "after a clean stop")
	third.stop()
	made, remembered := &foreshadowv1.Recommendation{}, &foreshadowv1.ScalingRemembered{}
	newest(t, k, kafka.TopicScalingRecommended, name, made)
	newest(t, k, kafka.TopicScalingRemembered, name, remembered)
	if got, want := remembered.GetCreateTime().AsTime(), made.GetCreateTime().AsTime(); !got.Equal(want) {
		t.Errorf("the memory is of %s, the last decision of %s", got, want)
	}
}

// newest reads the last record of a workload that a topic holds.
func newest(t *testing.T, k kafka.Config, topic, name string, into proto.Message) {
	t.Helper()
	ctx, caughtUp := context.WithTimeout(t.Context(), time.Minute)
	defer caughtUp()
	if err := kafka.Tail(ctx, kafka.TailConfig{Kafka: k, Topic: topic, CaughtUp: caughtUp}, func(r kafka.Record) error {
		if r.Key != name {
			return nil
		}
		return r.Decode(into)
	}); err != nil {
		t.Fatal(err)
	}
}

// Nothing that is found on the topic keeps a predictor from its work, and the next memory takes its place.
func TestAMemoryThatCannotBeReadIsAFreshStart(t *testing.T) {
	t.Parallel()
	name := own("damaged")
	k, h := broker(t), &past{}
	h.add(wave(name, time.Now(), 4*time.Minute)...)
	address := serveHistory(t, "127.0.0.1:0", h)
	remember(t, k, name, []byte("of another version"))
	out := recommendations(t, k, name)
	live(t, produce(t, k), h, name)
	r := start(t, k, address, budgeted(name))
	var last uint64
	await(t, out, &last, "that says too little was seen", unknown)
	if strings.Contains(metrics(t, r), `memory_recalled_age_seconds{workload="`+name) {
		t.Error("it is said to have gone on from it")
	}
	awaitPlayed(t, memories(t, k, name), 0)
}

// remember writes a state as a predictor would have kept it.
func remember(t *testing.T, k kafka.Config, name string, state []byte) {
	t.Helper()
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = k, kafka.TopicScalingRemembered, "/predictor"
	p, err := kafka.NewPublisher[*foreshadowv1.ScalingRemembered](cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Publish(name, &foreshadowv1.ScalingRemembered{Workload: name, State: state})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it drains, and ends
	if err := p.Run(ctx); err != nil || p.Ledger().Published != 1 {
		t.Fatalf("%v, ledger %+v", err, p.Ledger())
	}
}

// While what was kept cannot be read, decisions wait for a moment only, and nothing takes its place.
func TestDecidesWithoutItsMemoryWhileThatIsAway(t *testing.T) {
	t.Parallel()
	name := own("later")
	k, h := kafkatest.NewBroker(t).Config(), &past{}
	topics := slices.DeleteFunc(kafka.DefaultTopics(), func(t kafka.Topic) bool { return t.Name == kafka.TopicScalingRemembered })
	if err := kafka.EnsureTopics(t.Context(), k, topics); err != nil {
		t.Fatal(err)
	}
	h.add(wave(name, time.Now(), 4*time.Minute)...)
	out := recommendations(t, k, name)
	live(t, produce(t, k), h, name)
	r := start(t, k, serveHistory(t, "127.0.0.1:0", h), budgeted(name))
	var last uint64
	await(t, out, &last, "without its memory", unknown)
	if got := metrics(t, r); !strings.Contains(got, `foreshadow_kafka_queue_bytes{topic="`+kafka.TopicScalingRemembered+`"} 0`) {
		t.Errorf("a memory is to be kept before the one there is was read:\n%s", got)
	}
	if err := kafka.EnsureTopics(t.Context(), k, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	awaitPlayed(t, memories(t, k, name), 0)
}
