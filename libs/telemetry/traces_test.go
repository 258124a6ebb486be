package telemetry_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/telemetry"
)

// collector is an OpenTelemetry collector: it keeps what it is sent.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	spans []*tracev1.Span
	from  []string // service.name of each
}

func (c *collector) Export(_ context.Context, req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		name := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				name = a.GetValue().GetStringValue()
			}
		}
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans, c.from = append(c.spans, span), append(c.from, name)
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, server, done := &collector{address: ln.Addr().String()}, grpc.NewServer(), make(chan struct{})
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c
}

func TestSpansReachACollector(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tracing, stop, err := telemetry.Traces{Endpoint: c.address, Insecure: true}.Tracing(t.Context(), "predictor")
	if err != nil {
		t.Fatal(err)
	}
	_, made := tracing.Tracer("test").Start(telemetry.AsRecommendation(t.Context(), "shop-7"), "recommend shop")
	made.End()
	// Another process, which knows nothing but the recommendation.
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Recommendation("shop-7"))
	_, done := tracing.Tracer("test").Start(ctx, "scale shop")
	done.End()
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 || c.from[0] != "predictor" {
		t.Fatalf("%d spans of %v, want two of the predictor", len(c.spans), c.from)
	}
	first, second := c.spans[0], c.spans[1]
	if string(first.GetTraceId()) != string(second.GetTraceId()) || string(second.GetParentSpanId()) != string(first.GetSpanId()) || len(first.GetParentSpanId()) != 0 {
		t.Errorf("spans %v and %v: want what was done below what was recommended", first, second)
	}
	if string(second.GetSpanId()) == string(first.GetSpanId()) {
		t.Error("both spans have one identity")
	}
	if got := telemetry.Traceparent(made.SpanContext()); got != telemetry.Traceparent(telemetry.Recommendation("shop-7")) || len(strings.Split(got, "-")) != 4 {
		t.Errorf("traceparent %q", got)
	}
}

// A collector that is away costs spans and nothing else.
func TestADeadCollectorHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	tracing, stop, err := telemetry.Traces{Endpoint: address, Insecure: true}.Tracing(t.Context(), "predictor")
	if err != nil {
		t.Fatal(err)
	}
	for range 100_000 { // far more than the queue holds
		_, span := tracing.Tracer("test").Start(t.Context(), "recommend shop")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = stop(ctx)
	if ctx.Err() != nil {
		t.Error("the end waits for a collector that is away")
	}
}

func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	tracing, stop, err := telemetry.Traces{}.Tracing(t.Context(), "predictor")
	if err != nil {
		t.Fatal(err)
	}
	if _, span := tracing.Tracer("test").Start(t.Context(), "x"); span.IsRecording() {
		t.Error("spans are recorded for nobody")
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	c := telemetry.DefaultConfig()
	c.Traces.Endpoint = "collector"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "traces.endpoint") {
		t.Errorf("error %v, want one that names traces.endpoint", err)
	}
}
