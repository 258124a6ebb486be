// Package record publishes what the provisioner did and refused, and remembers the newest of it. A change is published at
// least once: it stays in the journal until the broker has it, and its event ID is its action ID, so that readers know a
// second copy. Refusals, plans and proposals are kept in memory only and may be lost with the process.
package record

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

const (
	// maxQueued bounds the refusals that wait for a broker that is away; newer ones are not published.
	maxQueued = 1000
	// maxKept bounds the actions remembered per workload.
	maxKept = 1000
	// drainTimeout is how long the last records may take when the process stops.
	drainTimeout = 2 * time.Second
	retryEvery   = time.Second
)

// Sender publishes a slice of messages and returns when the broker has them.
type Sender interface {
	SendRaw(ctx context.Context, messages []kafka.RawMessage) error
}

// Recorder is safe for concurrent use.
type Recorder struct {
	sender   Sender
	journal  *journal.Journal
	metrics  *Metrics
	tracer   trace.Tracer
	log      *slog.Logger
	producer string
	wake     chan struct{} // capacity 1

	mu       sync.Mutex
	queue    []*foreshadowv1.ScalingApplied
	kept     map[string][]*foreshadowv1.ScalingApplied // by workload, newest last
	sequence uint64

	// sent are the changes that the broker has and the journal could not forget yet. It belongs to the goroutine of Run.
	sent map[sent]bool
}

// sent tells a change from another attempt at it.
type sent struct {
	id       string
	complete time.Time
}

func sentAs(a journal.Action) sent { return sent{a.GetActionId(), a.GetCompleteTime().AsTime()} }

// New returns a recorder; changes that an earlier process left unrecorded are published first. Without tracing no spans are
// recorded.
func New(sender Sender, j *journal.Journal, metrics *Metrics, tracing trace.TracerProvider, log *slog.Logger) *Recorder {
	if tracing == nil {
		tracing = noop.NewTracerProvider()
	}
	r := &Recorder{
		tracer: tracing.Tracer("foreshadow/provisioner"),
		sender: sender, journal: j, metrics: metrics, log: log, producer: rand.Text(), wake: make(chan struct{}, 1),
		kept: map[string][]*foreshadowv1.ScalingApplied{}, sent: map[sent]bool{},
	}
	r.Complete(j.Unrecorded())
	return r
}

// Record takes what was not done.
func (r *Recorder) Record(a *foreshadowv1.ScalingApplied) {
	r.mu.Lock()
	r.keep(a)
	if len(r.queue) < maxQueued {
		r.queue = append(r.queue, a)
	} else {
		r.metrics.unpublished.Inc()
	}
	r.mu.Unlock()
	r.nudge()
}

// Complete takes changes that the journal holds as unrecorded.
func (r *Recorder) Complete(actions []journal.Action) {
	r.mu.Lock()
	for _, a := range actions {
		r.keep(a.ScalingApplied)
	}
	r.mu.Unlock()
	r.nudge()
}

func (r *Recorder) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (r *Recorder) keep(a *foreshadowv1.ScalingApplied) {
	kept := r.kept[a.GetWorkload()]
	if len(kept) == maxKept {
		kept = slices.Delete(kept, 0, 1)
	}
	r.kept[a.GetWorkload()] = append(kept, a)
	r.metrics.observe(a)
	r.trace(a)
}

// trace tells what was done about a recommendation as part of the trace in which it was made.
func (r *Recorder) trace(a *foreshadowv1.ScalingApplied) {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), telemetry.Recommendation(a.GetRecommendationId()))
	_, span := r.tracer.Start(ctx, "scale "+a.GetWorkload(), trace.WithTimestamp(a.GetCreateTime().AsTime()), trace.WithAttributes(
		attribute.String("foreshadow.environment", a.GetEnvironment().String()), attribute.String("foreshadow.action_id", a.GetActionId()),
		attribute.String("foreshadow.outcome", a.GetOutcome().String()), attribute.String("foreshadow.reason", a.GetReason()),
		attribute.Int("foreshadow.instances.from", int(a.GetFrom().GetInstances())), attribute.Int("foreshadow.instances.to", int(a.GetTo().GetInstances())),
		attribute.StringSlice("foreshadow.guardrails", a.GetGuardrails()), attribute.String("foreshadow.actor", a.GetActor()),
	))
	if o := a.GetOutcome(); o == foreshadowv1.Outcome_OUTCOME_FAILED || o == foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
		span.SetStatus(codes.Error, a.GetReason())
	}
	end := a.GetCreateTime()
	if a.GetCompleteTime() != nil {
		end = a.GetCompleteTime()
	}
	span.End(trace.WithTimestamp(end.AsTime()))
}

// Newest returns the actions remembered of a workload, newest first.
func (r *Recorder) Newest(workload string) []*foreshadowv1.ScalingApplied {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept[workload]
	out := make([]*foreshadowv1.ScalingApplied, len(kept))
	for i, a := range kept {
		out[len(kept)-1-i] = a
	}
	return out
}

// Run publishes until ctx ends, and then what is left for a short while.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		err := r.publish(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Error("record not published, retrying", "err", err)
		}
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(retryEvery)
		}
		select {
		case <-r.wake:
		case <-retry:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			if err := r.publish(last); err != nil {
				r.log.Warn("changes stay in the journal until the next start", "err", err)
			}
			return nil
		}
	}
}

// publish sends all that waits.
func (r *Recorder) publish(ctx context.Context) error {
	changes := r.journal.Unrecorded()
	r.mu.Lock()
	others := r.queue
	r.mu.Unlock()
	if len(changes)+len(others) == 0 {
		return nil
	}
	var messages []kafka.RawMessage
	done := map[string]bool{}
	for _, a := range changes {
		done[a.GetActionId()] = true
		if r.sent[sentAs(a)] {
			continue
		}
		m, err := r.message(a.ScalingApplied)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	for _, a := range others {
		m, err := r.message(a)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	var rejected *kafka.RejectedError
	var err error
	if len(messages) > 0 {
		err = r.sender.SendRaw(ctx, messages)
	}
	if errors.As(err, &rejected) {
		// The broker will never take these; to try again would hold up all that follow.
		r.log.Error("records refused by the broker", "err", rejected)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("publish %d records: %w", len(messages), err)
	}
	r.mu.Lock()
	r.queue = r.queue[len(others):]
	r.mu.Unlock()
	if len(done) == 0 {
		return nil
	}
	for _, a := range changes {
		r.sent[sentAs(a)] = true
	}
	if err := r.journal.Recorded(done); err != nil {
		return err
	}
	clear(r.sent)
	return nil
}

func (r *Recorder) message(a *foreshadowv1.ScalingApplied) (kafka.RawMessage, error) {
	value, err := proto.Marshal(a)
	if err != nil {
		return kafka.RawMessage{}, fmt.Errorf("encode record %s: %w", a.GetActionId(), err)
	}
	r.mu.Lock()
	r.sequence++
	sequence := r.sequence
	r.mu.Unlock()
	return kafka.RawMessage{
		Topic: kafka.TopicScalingApplied, Key: a.GetWorkload(), Value: value,
		Meta: kafka.Meta{
			ID: a.GetActionId(), Type: string(a.ProtoReflect().Descriptor().FullName()), Source: "/provisioner",
			Time: a.GetCompleteTime().AsTime(), ProducerID: r.producer, Sequence: sequence,
		},
	}, nil
}
