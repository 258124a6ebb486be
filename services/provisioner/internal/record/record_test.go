package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker keeps event IDs, and fails while it is told to.
type broker struct {
	mu   sync.Mutex
	fail error
	ids  []string
}

func (b *broker) SendRaw(ctx context.Context, messages []kafka.RawMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if b.fail != nil && !errors.As(b.fail, new(*kafka.RejectedError)) {
		return b.fail
	}
	for _, m := range messages {
		b.ids = append(b.ids, m.Meta.ID)
	}
	return b.fail
}

func action(id string) *foreshadowv1.ScalingApplied {
	return &foreshadowv1.ScalingApplied{ActionId: id, Workload: "shop", CompleteTime: timestamppb.Now()}
}

type fixture struct {
	t        *testing.T
	dir      string
	journal  *journal.Journal
	broker   *broker
	recorder *Recorder
	tracing  trace.TracerProvider
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, dir: t.TempDir(), broker: &broker{}}
	f.restart()
	return f
}

func (f *fixture) restart() {
	f.t.Helper()
	j, err := journal.Open(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	metrics, err := NewMetrics(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.journal, f.recorder = j, New(f.broker, j, metrics, f.tracing, slog.New(slog.DiscardHandler))
}

// complete is a change that a lane has finished.
func (f *fixture) complete(id string) {
	f.t.Helper()
	done := []journal.Action{{ScalingApplied: action(id)}}
	if err := f.journal.SetLane("shop/production", journal.Lane{}, done); err != nil {
		f.t.Fatal(err)
	}
	f.recorder.Complete(done)
}

func TestChangesOutliveAProcessWithoutABroker(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.broker.fail = errors.New("no broker")
	f.complete("a")
	f.recorder.Record(action("refusal"))
	if err := f.recorder.publish(t.Context()); err == nil {
		t.Fatal("published without a broker")
	}
	f.restart()
	f.broker.fail = nil
	f.complete("b")
	if err := f.recorder.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b"}; !slices.Equal(f.broker.ids, want) || len(f.journal.Unrecorded()) != 0 {
		t.Errorf("published %v, want %v; the journal still holds %v", f.broker.ids, want, f.journal.Unrecorded())
	}
	if got := f.recorder.Newest("shop"); len(got) != 2 || got[0].GetActionId() != "b" {
		t.Errorf("newest %v, want both changes", got)
	}
}

func TestRefusedRecordDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.broker.fail = &kafka.RejectedError{Messages: []kafka.Rejected{{Reason: "too_large", Err: errors.New("too large")}}}
	f.complete("a")
	if err := f.recorder.publish(t.Context()); err != nil || len(f.journal.Unrecorded()) != 0 {
		t.Errorf("publish = %v, the journal holds %v", err, f.journal.Unrecorded())
	}
}

// What the broker has is not sent to it again and again while the journal cannot be written, by a full disk for example.
func TestAJournalThatCannotBeWrittenRepeatsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete("a")
	next := filepath.Join(f.dir, "provisioner.json.next")
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	f.recorder.Record(action("refusal"))
	for range 3 {
		if err := f.recorder.publish(t.Context()); err == nil {
			t.Fatal("noted in a journal that cannot be written")
		}
	}
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	f.complete("b")
	f.complete("a") // another attempt at the same
	if err := f.recorder.publish(t.Context()); err != nil || len(f.journal.Unrecorded()) != 0 {
		t.Errorf("publish = %v, the journal holds %v", err, f.journal.Unrecorded())
	}
	if want := []string{"a", "refusal", "b", "a"}; !slices.Equal(f.broker.ids, want) {
		t.Errorf("published %v, want %v", f.broker.ids, want)
	}
	f.complete("c")
	if err := f.recorder.publish(t.Context()); err != nil || !slices.Equal(f.broker.ids[4:], []string{"c"}) {
		t.Errorf("published %v, %v", f.broker.ids, err)
	}
}

func TestRunPublishesWhatIsLeftWhenItStops(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.recorder.Record(action("refusal"))
	f.complete("change")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.recorder.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.broker.ids, []string{"change", "refusal"}) || len(f.journal.Unrecorded()) != 0 {
		t.Errorf("published %v, the journal still holds %v", f.broker.ids, f.journal.Unrecorded())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := range maxQueued + 5 {
		f.recorder.Record(action(fmt.Sprint(n)))
	}
	if got := testutil.ToFloat64(f.recorder.metrics.unpublished); got != 5 || len(f.recorder.queue) != maxQueued {
		t.Errorf("%d queued and %v counted as not published", len(f.recorder.queue), got)
	}
	if got := f.recorder.Newest("shop"); len(got) != maxKept || got[0].GetActionId() != fmt.Sprint(maxQueued+4) {
		t.Errorf("remembers %d, the newest %s", len(got), got[0].GetActionId())
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	a := action("a")
	a.Guardrails, a.StartupSeconds = []string{"max"}, 4
	m.observe(a)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(families))
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{
		"foreshadow_provisioner_actions_total", "foreshadow_provisioner_guardrail_hits_total",
		"foreshadow_provisioner_startup_seconds", "foreshadow_provisioner_unpublished_records_total",
	}
	if !slices.Equal(names, want) {
		t.Errorf("metrics %v, want %v: the names are an interface", names, want)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
}

// TestActionsAreInTheTraceOfTheirRecommendation: whoever looks at a trace sees why and when, and what became of it.
func TestActionsAreInTheTraceOfTheirRecommendation(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	f := &fixture{t: t, dir: t.TempDir(), broker: &broker{}, tracing: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))}
	f.restart()
	begin := time.Unix(1_700_000_000, 0)
	for _, outcome := range []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED, foreshadowv1.Outcome_OUTCOME_ROLLED_BACK} {
		a := action(outcome.String())
		a.RecommendationId, a.Outcome, a.Reason = "shop-7", outcome, "users felt it"
		a.CreateTime, a.CompleteTime = timestamppb.New(begin), timestamppb.New(begin.Add(4*time.Second))
		f.recorder.Record(a)
	}
	made := telemetry.Recommendation("shop-7")
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans, want one for each action", len(ended))
	}
	for i, s := range ended {
		if s.Parent().TraceID() != made.TraceID() || s.Parent().SpanID() != made.SpanID() {
			t.Errorf("parent %v, want the span of the recommendation", s.Parent())
		}
		if !s.StartTime().Equal(begin) || s.EndTime().Sub(begin) != 4*time.Second {
			t.Errorf("from %v to %v, want the 4 s of the action", s.StartTime(), s.EndTime())
		}
		if failed := s.Status().Code == codes.Error; failed != (i == 1) {
			t.Errorf("span %d: status %v", i, s.Status())
		}
	}
}
