package shadowrunner_test

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

func asIs(*workload.Workload) {}

func TestWhatIsCapturedIsReplayedOnceAndAccountedFor(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 10, 5*time.Millisecond), asIs)
	const sessions, each = 8, 12
	var batch []kafka.RawMessage
	// They come from a little ahead, so that a busy machine has time to bring them to where they are due.
	soon := func(e *foreshadowv1.CapturedRequest) { e.ArriveTime.Seconds += 10 }
	for i := range each {
		for s := range sessions {
			batch = append(batch, r.event(fmt.Sprint("s", s), fmt.Sprintf("/items/%d", i), soon))
		}
	}
	post := r.event("s0", "/cart", func(e *foreshadowv1.CapturedRequest) { e.Method = http.MethodPost })
	poison := r.event("s1", "http://"+r.production.Address+"/", nil)
	r.send(batch...)
	r.send(post, poison)
	r.send(batch[:10]...) // a slice whose acknowledgement was lost comes again, with its sequences
	const total = sessions*each + 2 + 10
	r.await("everything to be settled", func() bool {
		l := r.ledger("shadow-runner/replay")
		return l.Seen-l.Dropped["unknown_workload"] == total && l.Pending == 0
	})
	r.await("the last answer", func() bool { return len(r.shadow.Seen()) == sessions*each })
	r.platform.set("shop-shadow")
	r.await("an asleep shadow", func() bool {
		r.send(r.event("s2", "/", nil))
		return r.ledger("shadow-runner/replay").Dropped["asleep"] > 0
	})
	r.stop()

	l := r.ledger("shadow-runner/replay")
	if l.Dropped["duplicate"] != 10 || l.Dropped["state_changing"] != 1 || l.Dropped["poison"] != 1 || l.Passed != sessions*each {
		t.Errorf("ledger %+v", l)
	}
	for _, l := range r.admin.Ledgers() {
		if !l.Balanced() || l.Pending != 0 {
			t.Errorf("ledger %+v does not balance after the end", l)
		}
	}
	seen := r.shadow.Seen()
	if len(seen) != sessions*each || len(r.production.Seen()) != 0 {
		t.Errorf("the shadow saw %d, want %d; production saw %d, want none", len(seen), sessions*each, len(r.production.Seen()))
	}
	for _, s := range seen {
		if s.Method != http.MethodGet || s.Host != "shop.example" || s.Header.Get("Foreshadow-Shadow") != "shop" ||
			!strings.Contains(s.Header.Get("Baggage"), "foreshadow-shadow=1") || s.Header.Get("Traceparent") == "" {
			t.Fatalf("the shadow saw %+v", s)
		}
	}
	checkObservations(t, r, uint64(len(seen)))
}

// checkObservations compares what was published with what the shadow itself counted.
func checkObservations(t *testing.T, r *rig, want uint64) {
	t.Helper()
	sum := metric.Strata{}
	starts := map[int64]int{}
	for _, o := range read(r, kafka.TopicMetricsObserved, func() *foreshadowv1.MetricsObserved { return &foreshadowv1.MetricsObserved{} }) {
		if o.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_SHADOW || o.GetSource() != "shadow-runner" || o.GetWorkload() != "shop" {
			t.Errorf("observation %v", o)
		}
		starts[o.GetStartTime().AsTime().UnixNano()]++
		strata, err := metric.StrataFromProto(o.GetTraffic())
		if err != nil {
			t.Fatal(err)
		}
		sum.Merge(strata)
	}
	total := sum.Total()
	if total.Requests != want || total.Responses != want || total.Errors != 0 || total.Latency.Count() != want {
		t.Errorf("observed %d requests, %d responses, %d errors; the shadow served %d", total.Requests, total.Responses, total.Errors, want)
	}
	var seconds []int64
	for s, n := range starts {
		if n != 1 {
			t.Errorf("second %d reported %d times", s, n)
		}
		seconds = append(seconds, s)
	}
	slices.Sort(seconds)
	for i := 1; i < len(seconds); i++ {
		if seconds[i]-seconds[i-1] != int64(time.Second) {
			t.Errorf("seconds between %v and %v were not reported", time.Unix(0, seconds[i-1]), time.Unix(0, seconds[i]))
		}
	}
	if len(seconds) < 2 {
		t.Errorf("%d seconds reported", len(seconds))
	}
}

func TestASharedAddressIsNeverReplayedTo(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 10, 0), asIs)
	r.platform.set("shop-shadow", ready("s1", r.shadow.Address), ready("s2", r.production.Address))
	r.await("the refusal", func() bool {
		r.send(r.event("s", "/", nil))
		return r.ledger("shadow-runner/replay").Dropped["unverified"] > 0
	})
	if n := len(r.production.Seen()); n != 0 {
		t.Errorf("production saw %d requests", n)
	}
}

func TestCapacityIsMeasuredAndExperimentsRun(t *testing.T) {
	t.Parallel()
	shadow := referencetest.New(t, 50, time.Millisecond) // no queue grows in it on a busy machine either
	r := start(t, shadow, func(w *workload.Workload) {
		// Nothing breaks this SLO up to the highest rate, nor makes the generator late by a tenth of it: on a busy machine, too, the
		// first measurement finds that rate.
		w.SLO.Latency, w.Replay.Timeout, w.Replay.MaxRate = 10*time.Second, 20*time.Second, 100
		w.Replay.MinRequests, w.Replay.StepDuration, w.Replay.SettleDuration = 60, 600*time.Millisecond, 100*time.Millisecond
	})
	r.refusesExperiments()
	r.traffic()
	r.experiment("before", 0.5, 1)
	var c *foreshadowv1.CapacityMeasured
	r.await("a valid capacity", func() bool {
		list := read(r, kafka.TopicCapacityMeasured, func() *foreshadowv1.CapacityMeasured { return &foreshadowv1.CapacityMeasured{} })
		if len(list) > 0 {
			c = list[len(list)-1]
		}
		return c.GetValid()
	})
	// This is about the way, package measure is about the number.
	if math.Abs(c.GetRequestsPerSecond()-100) > 2 || !c.GetPrecise() || c.GetWorkload() != "shop" || c.GetVersion() != "v1" ||
		c.GetStartupSeconds() < 3 || len(c.GetMix()) != 1 || c.GetSloLatencySeconds() != 10 {
		t.Errorf("capacity %v", c)
	}
	r.stop()
	replayed, probed := r.ledger("shadow-runner/replay"), r.ledger("shadow-runner/probe")
	if !probed.Balanced() || probed.Pending != 0 || probed.Passed+replayed.Passed != uint64(len(shadow.Seen())) || len(r.production.Seen()) != 0 {
		t.Errorf("replayed %+v, probed %+v, the shadow saw %d, production %d", replayed, probed, len(shadow.Seen()), len(r.production.Seen()))
	}
	checkObservations(t, r, replayed.Passed)

	// A runner that starts again knows it, and measures nothing: what it sends are its experiments and no more.
	r.run()
	r.refusesExperiments()
	r.traffic()
	first := r.experiment("again", 1)
	second := r.experiment("once more", 1)
	// A load is 44 requests, settling included, and is held up to three times on a busy machine; a measurement is hundreds.
	if l := r.ledger("shadow-runner/probe"); l.Seen%44 != 0 || l.Seen > 6*44 || r.ledger("shadow-runner/capacities").Seen != 0 {
		t.Errorf("probe %+v after experiments of %v and %v", l, first, second)
	}
}

// refusesExperiments holds while no traffic of production is known.
func (r *rig) refusesExperiments() {
	r.t.Helper()
	conn, err := rpc.Dial(r.listen)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", Amplifications: []float64{1}}
	r.await("the past to be known", func() bool {
		_, err = foreshadowv1.NewExperimentServiceClient(conn).CreateExperiment(r.t.Context(), ask)
		return status.Code(err) != codes.Unavailable
	})
	if status.Code(err) != codes.FailedPrecondition {
		r.t.Errorf("an experiment without any traffic: %v", err)
	}
}

// experiment holds the loads, in a shadow of a production that serves 40 requests/s, and returns the result.
func (r *rig) experiment(id string, loads ...float64) *foreshadowv1.Experiment {
	t := r.t
	t.Helper()
	conn, err := rpc.Dial(r.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := foreshadowv1.NewExperimentServiceClient(conn)
	ask := &foreshadowv1.CreateExperimentRequest{Workload: "shop", Amplifications: loads, HoldSeconds: 1, RequestId: id}
	begin := time.Now()
	r.await("experiment "+id, func() bool {
		_, err := client.CreateExperiment(t.Context(), ask)
		if status.Code(err) == codes.FailedPrecondition && time.Since(begin) > 31*time.Second {
			r.traffic() // a busy machine was so slow that what was sent before is not recent any more
			begin = time.Now()
		}
		return err == nil
	})
	var e *foreshadowv1.Experiment
	r.await("the end of experiment "+id, func() bool {
		got, err := client.CreateExperiment(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		e = got.GetExperiment()
		return e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING
	})
	if e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED || len(e.GetResults()) != len(loads) {
		t.Fatalf("experiment %v", e)
	}
	for i, load := range loads {
		if got := e.GetResults()[i].GetOfferedPerSecond(); math.Abs(got-40*load) > 2 {
			t.Errorf("offered %v requests/s at %v times production's 40", got, load)
		}
	}
	return e
}

// traffic is the last seconds of production, at 40 requests/s: 20 copies a second of weight 2.
func (r *rig) traffic() {
	r.t.Helper()
	settled := func() uint64 {
		// What was only seen may yet turn out to be of an unknown workload.
		l := r.ledger("shadow-runner/replay")
		n := l.Passed
		for reason, dropped := range l.Dropped {
			if reason != "unknown_workload" {
				n += dropped
			}
		}
		return n
	}
	before, now := settled(), time.Now().Unix()
	for s := int64(12); s > 0; s-- {
		var batch []kafka.RawMessage
		for i := range 20 {
			batch = append(batch, r.event(fmt.Sprint("s", i), "/", func(e *foreshadowv1.CapturedRequest) {
				e.ArriveTime.Seconds = now - s
				e.Weight = 2
			}))
		}
		r.send(batch...)
	}
	// Half of it would be another rate.
	r.await("all of the traffic", func() bool { return settled() == before+12*20 })
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := shadowrunner.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := shadowrunner.Config{Listen: "x", CompareRatio: -1}.Validate()
	for _, key := range []string{"listen", "admin", "lag", "max_queued", "reservoir_requests", "reservoir_bytes", "max_steps", "compare_ratio"} {
		if err == nil || !strings.Contains(err.Error(), "shadow_runner."+key) {
			t.Errorf("error %v does not name shadow_runner.%s", err, key)
		}
	}
}

func TestAShadowsAuthorityMustBeReadable(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "no certificate in", empty + ".not": "no such file"} {
		w := workload.Default()
		w.Name, w.Replay.TLS = "shop", workload.ReplayTLS{Enabled: true, CAFile: file}
		registry := telemetry.NewRegistry()
		_, err := shadowrunner.New(shadowrunner.DefaultConfig(), shadowrunner.Deps{
			Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: telemetry.NewAdmin(registry), Kafka: kafkatest.NewBroker(t).Config(),
			Workloads: []workload.Workload{w}, Instances: &groups{},
		})
		if err == nil || !strings.Contains(err.Error(), "replay.tls: ca_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
