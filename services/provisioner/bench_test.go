package provisioner

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/libs/platform/local/localtest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestMain(m *testing.M) {
	localtest.ServeIfAsked()
	if os.Getenv(killVariable) != "" {
		os.Exit(provisionUntilKilled())
	}
	if os.Getenv(freezeVariable) != "" {
		os.Exit(provisionUntilFrozen())
	}
	embeddedtest.Main(m)
}

const hangTimeout = 30 * time.Second // bounds hangs; nothing waits for it when all is well

// bench is a real platform, a real broker, and a provisioner between them that can be stopped and started again.
type bench struct {
	t         *testing.T
	workload  workload.Workload
	platform  *local.Client
	kafka     kafka.Config
	publisher *kafka.Publisher[*foreshadowv1.Recommendation]
	actions   chan *foreshadowv1.ScalingApplied
	stateDir  string
	gone      bool // the workload is not declared any more, at the next start

	client foreshadowv1.ProvisioningServiceClient
	admin  *telemetry.Admin
	stop   func()
}

// newBench has three instances of production. The workload is named after the test: the tests share the broker's topics.
func newBench(t *testing.T, adjust func(*workload.Workload)) *bench {
	t.Helper()
	w := declared(strings.ToLower(t.Name()))
	if adjust != nil {
		adjust(&w)
	}
	b := &bench{t: t, workload: w, stateDir: t.TempDir(), actions: make(chan *foreshadowv1.ScalingApplied, 100)}
	b.platform = localtest.Run(t, map[string]workload.Process{"production": w.Production.Process, "shadow": w.Shadow.Process})
	localtest.Await(t, b.platform, "production", "the initial instances", localtest.Ready(3))
	b.kafka = kafka.Default()
	b.kafka.Brokers = []string{embeddedtest.Broker(t)}
	if err := kafka.EnsureTopics(t.Context(), b.kafka, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = b.kafka, kafka.TopicScalingRecommended, "/test"
	var err error
	if b.publisher, err = kafka.NewPublisher[*foreshadowv1.Recommendation](cfg); err != nil {
		t.Fatal(err)
	}
	caughtUp := make(chan struct{})
	b.background(b.publisher.Run)
	b.background(func(ctx context.Context) error { return b.follow(ctx, caughtUp) })
	<-caughtUp
	b.start()
	return b
}

func declared(name string) workload.Workload {
	w := workload.Default()
	w.Name = name
	w.Production = workload.Target{Platform: "local", Group: "production", Process: localtest.Process(50*time.Millisecond, 3)}
	w.Shadow = workload.Target{Platform: "local", Group: "shadow", Process: localtest.Process(0, 0)}
	w.Instances, w.ShadowInstances = workload.Limits{Min: 1, Max: 6}, workload.Limits{Min: 0, Max: 2}
	w.Guardrails = workload.Guardrails{Mode: workload.Automatic, RatePeriod: time.Minute, VerifyTimeout: hangTimeout}
	return w
}

// background runs something until the test ends.
func (b *bench) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("ended with %v", err)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) follow(ctx context.Context, caughtUp chan struct{}) error {
	cfg := kafka.TailConfig{Kafka: b.kafka, Topic: kafka.TopicScalingApplied, From: kafka.Latest(), CaughtUp: func() { close(caughtUp) }}
	return kafka.Tail(ctx, cfg, func(r kafka.Record) error {
		a := &foreshadowv1.ScalingApplied{}
		if err := r.Decode(a); err != nil {
			return err
		}
		if a.GetWorkload() == b.workload.Name {
			if r.Meta.ID != a.GetActionId() {
				b.t.Errorf("event %q of action %q: a second copy would not be known as one", r.Meta.ID, a.GetActionId())
			}
			b.actions <- a
		}
		return nil
	})
}

// start runs a provisioner and returns when it follows recommendations.
func (b *bench) start() {
	b.t.Helper()
	registry := telemetry.NewRegistry()
	b.admin = telemetry.NewAdmin(registry)
	cfg := DefaultConfig()
	cfg.StateDir = b.stateDir
	w := b.workload
	if b.gone {
		w.Name += "-other"
	}
	s, err := New(cfg, Deps{
		Workloads: []workload.Workload{w}, Kafka: b.kafka, Platform: b.platform, Log: slog.New(slog.DiscardHandler),
		Registry: registry, Admin: b.admin,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	following := make(chan struct{})
	s.following = func() { close(following) }
	ln, err := rpc.Listen("127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := rpc.Dial(ln.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.client = foreshadowv1.NewProvisioningServiceClient(conn)
	stop := b.background(func(ctx context.Context) error { return s.serve(ctx, ln) })
	b.stop = func() {
		stop()
		_ = conn.Close()
	}
	b.t.Cleanup(b.stop)
	<-following
}

// recommend publishes a recommendation, which may be adjusted before.
func (b *bench) recommend(production, shadow int32, adjust ...func(*foreshadowv1.Recommendation)) *foreshadowv1.Recommendation {
	b.t.Helper()
	now := time.Now()
	r := &foreshadowv1.Recommendation{
		RecommendationId: "r-" + now.Format(time.RFC3339Nano), Workload: b.workload.Name, Generation: uint64(now.UnixNano()),
		CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(hangTimeout)),
		Production: &foreshadowv1.Sizing{Instances: production}, Shadow: &foreshadowv1.Sizing{Instances: shadow},
		Policy: foreshadowv1.Policy_POLICY_PREDICTIVE, Reasons: []*foreshadowv1.Reason{{Code: "test", Text: "because of the test"}},
	}
	for _, f := range adjust {
		f(r)
	}
	if !b.publisher.Publish(r.GetWorkload(), r) {
		b.t.Fatal("recommendation was not accepted for publishing")
	}
	return r
}

// action waits for the next record of an environment with an outcome; others before it are looked over.
func (b *bench) action(e foreshadowv1.Environment, o foreshadowv1.Outcome) *foreshadowv1.ScalingApplied {
	b.t.Helper()
	timeout := time.NewTimer(hangTimeout)
	defer timeout.Stop()
	var seen []string
	for {
		select {
		case a := <-b.actions:
			if a.GetEnvironment() == e && a.GetOutcome() == o {
				return a
			}
			seen = append(seen, a.String())
		case <-timeout.C:
			b.t.Fatalf("waited in vain for %s of %s; saw %v", o, e, seen)
		}
	}
}

func (b *bench) state(group string) platform.State {
	b.t.Helper()
	s, err := b.platform.State(b.t.Context(), group)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

const (
	production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
	shadow     = foreshadowv1.Environment_ENVIRONMENT_SHADOW
	applied    = foreshadowv1.Outcome_OUTCOME_APPLIED
	refused    = foreshadowv1.Outcome_OUTCOME_REFUSED
)

// wait returns when a recommendation was considered for production: with its record, or nil when none was made because
// the same refusal was recorded just before.
func (b *bench) wait(r *foreshadowv1.Recommendation) *foreshadowv1.ScalingApplied {
	b.t.Helper()
	var got *foreshadowv1.ScalingApplied
	b.until("the recommendation to be considered", func() bool {
		resp, err := b.client.ListActions(b.t.Context(), &foreshadowv1.ListActionsRequest{Workload: b.workload.Name})
		if err != nil {
			b.t.Fatal(err)
		}
		for _, a := range resp.GetActions() {
			if a.GetGeneration() == r.GetGeneration() && a.GetEnvironment() == production {
				got = a
			}
		}
		l := b.admin.Ledgers()[0]
		// The topic is shared with the tests that run beside this one; theirs are of unknown workloads here.
		return got != nil || l.Seen-l.Dropped["unknown_workload"] >= b.published() && l.Pending == 0
	})
	return got
}

func (b *bench) published() uint64 { return b.publisher.Ledger().Offered }

// until asks again until the answer is yes.
func (b *bench) until(what string, ask func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(hangTimeout)
	for !ask() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
