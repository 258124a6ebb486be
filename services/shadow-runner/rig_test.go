package shadowrunner_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// groups is a platform whose groups a test sets.
type groups struct {
	mu      sync.Mutex
	states  map[string]platform.State
	changed chan struct{}
	trial   string         // address of the instances of trials
	trials  []string       // that were begun, once per renewal, and did not end
	ending  map[string]int // looks until those that were ended are gone
	wrong   string         // what was done too early
	kept    int            // how often somebody began to keep them
}

func (g *groups) set(group string, instances ...platform.Instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.states[group] = platform.State{Group: group, Instances: instances}
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *groups) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	for {
		g.mu.Lock()
		state, changed := g.states[group], g.changed
		g.mu.Unlock()
		fn(state, nil)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// Usage knows the trials that run, and for one look more: their instances take a while to end.
func (g *groups) Usage(_ context.Context, group string) ([]platform.Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, _, is := platform.SplitTrialGroup(group); !is || slices.Contains(g.trials, group) {
		return nil, nil
	}
	if g.ending[group]--; g.ending[group] > 0 {
		return nil, nil
	}
	delete(g.ending, group)
	return nil, platform.NotFound(group)
}

// rig is a runner between a real broker, a real shadow and a production that must not be reached.
type rig struct {
	t          testing.TB
	kafka      kafka.Config
	platform   *groups
	production *referencetest.Server
	shadow     *referencetest.Server
	workload   workload.Workload
	runner     // the one that is asked

	sender   *kafka.Sender
	sequence uint64
}

// runner is one of the runners of an installation.
type runner struct {
	admin  *telemetry.Admin
	listen string
	log    *saying
	stop   func()
}

// saying is a log that counts its messages.
type saying struct {
	slog.Handler
	mu   sync.Mutex
	said map[string]int
}

func (s *saying) Enabled(context.Context, slog.Level) bool { return true }
func (s *saying) WithAttrs([]slog.Attr) slog.Handler       { return s }

func (s *saying) Handle(_ context.Context, r slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[r.Message]++
	return nil
}

func (s *saying) times(message string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said[message]
}

func ready(id, address string) platform.Instance {
	now := time.Now()
	return platform.Instance{ID: id, Address: address, Phase: platform.Ready, Version: "v1", StartTime: now.Add(-4 * time.Second), ReadyTime: now}
}

func start(t testing.TB, shadow *referencetest.Server, edit func(*workload.Workload)) *rig {
	t.Helper()
	r := &rig{
		t: t, kafka: kafkatest.NewBroker(t).Config(), shadow: shadow, production: referencetest.New(t, 10, 0),
		platform: &groups{states: map[string]platform.State{}, ending: map[string]int{}, changed: make(chan struct{})},
	}
	if err := kafka.EnsureTopics(t.Context(), r.kafka, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	r.platform.set("shop", ready("p1", r.production.Address))
	r.platform.set("shop-shadow", ready("s1", shadow.Address))
	w := workload.Default()
	w.Name, w.Production.Group, w.Shadow.Group = "shop", "shop", "shop-shadow"
	w.SLO = workload.SLO{Quantile: 0.95, Latency: 100 * time.Millisecond, ErrorRatio: 0.01}
	w.Replay.MinRequests = 1 << 30 // nothing is measured unless a test wants it
	edit(&w)
	r.workload = w
	var err error
	if r.sender, err = kafka.NewSender(r.kafka, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sender.Close() })
	r.run()
	return r
}

// run starts a runner, for the first time or again, and waits until it takes captured events.
func (r *rig) run() {
	r.t.Helper()
	r.runner = r.launch()
	r.awaitTraffic()
}

// launch starts one more runner.
func (r *rig) launch() runner {
	t := r.t
	t.Helper()
	cfg := shadowrunner.DefaultConfig()
	cfg.Listen, cfg.Lag, cfg.CompareRatio = freeAddress(t), 700*time.Millisecond, 1
	registry := telemetry.NewRegistry()
	u := runner{admin: telemetry.NewAdmin(registry), listen: cfg.Listen, log: &saying{said: map[string]int{}}}
	service, err := shadowrunner.New(cfg, shadowrunner.Deps{
		Log: slog.New(u.log), Registry: registry, Admin: u.admin, Kafka: r.kafka,
		Workloads: []workload.Workload{r.workload}, Instances: r.platform, Trials: r.platform,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	u.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v after a clean stop", err)
		}
	})
	t.Cleanup(u.stop)
	return u
}

// awaitTraffic waits until the runner that is asked takes captured events.
func (r *rig) awaitTraffic() {
	r.t.Helper()
	r.await("the consumer to be assigned", func() bool {
		r.send(r.event("warm-up", "/", func(e *foreshadowv1.CapturedRequest) { e.Workload = "nobody" }))
		return r.ledger("shadow-runner/replay").Seen > 0
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func (r *rig) event(session, target string, edit func(*foreshadowv1.CapturedRequest)) kafka.RawMessage {
	r.t.Helper()
	e := referencetest.Event("shop", session, target, time.Now())
	if edit != nil {
		edit(e)
	}
	value, err := proto.Marshal(e)
	if err != nil {
		r.t.Fatal(err)
	}
	r.sequence++
	return kafka.RawMessage{Topic: kafka.TopicTrafficCaptured, Key: "shop/" + session, Value: value, Meta: kafka.Meta{
		ID: kafka.EventID("tap", r.sequence), Type: "foreshadow.v1.CapturedRequest", Source: "/replicator/shop", Time: time.Now(),
		ProducerID: "tap", Sequence: r.sequence,
	}}
}

func (r *rig) send(messages ...kafka.RawMessage) {
	r.t.Helper()
	if err := r.sender.SendRaw(r.t.Context(), messages); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) ledger(hop string) metric.Ledger {
	r.t.Helper()
	return r.runner.ledger(r.t, hop)
}

func (u runner) ledger(t testing.TB, hop string) metric.Ledger {
	t.Helper()
	for _, l := range u.admin.Ledgers() {
		if l.Hop == hop {
			return l
		}
	}
	t.Fatalf("no ledger %s", hop)
	return metric.Ledger{}
}

func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute) // a bound on hangs, not a measure of speed
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("waited in vain for %s; ledgers %+v", what, r.admin.Ledgers())
		}
	}
}

// read returns what a topic holds now, without the copies of re-sent records.
func read[M proto.Message](r *rig, topic string, newMessage func() M) []M {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	dedup := kafka.NewDedup(100)
	var out []M
	caughtUp := false
	err := kafka.Tail(ctx, kafka.TailConfig{Kafka: r.kafka, Topic: topic, CaughtUp: func() { caughtUp = true; cancel() }}, func(rec kafka.Record) error {
		m := newMessage()
		if err := rec.Decode(m); err != nil {
			return fmt.Errorf("decode %s: %w", topic, err)
		}
		if dedup.First(rec) {
			out = append(out, m)
		}
		return nil
	})
	if err != nil || !caughtUp {
		r.t.Fatalf("read %s: %v, caught up: %v", topic, err, caughtUp)
	}
	return out
}
