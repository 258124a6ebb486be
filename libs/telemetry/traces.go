package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Traces says where spans go: one trace per recommendation, with what was done about it, and one per gRPC call.
type Traces struct {
	// Endpoint is host:port of an OpenTelemetry collector that takes OTLP over gRPC; empty records nothing.
	Endpoint string `yaml:"endpoint"`
	// Insecure sends spans in plain text.
	Insecure bool `yaml:"insecure"`
}

func (t Traces) validate() error {
	if t.Endpoint == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(t.Endpoint); err != nil || port == "" {
		return fmt.Errorf("traces.endpoint: want host:port, got %q", t.Endpoint)
	}
	return nil
}

// exportTimeout bounds the last export of a process that stops, and each one before it.
const exportTimeout = 5 * time.Second

// Tracing returns where the spans of one service are recorded, and what ends it. Spans wait in a bounded queue and are dropped
// when a collector that is slow or away lets it fill: nothing ever waits for them.
func (t Traces) Tracing(ctx context.Context, service string) (trace.TracerProvider, func(context.Context) error, error) {
	if t.Endpoint == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(t.Endpoint), otlptracegrpc.WithTimeout(exportTimeout),
		// To try again would fill the queue, and hold up the end of the process, for spans that are worth less than either.
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}),
	}
	if t.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("export traces to %s: %w", t.Endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithExportTimeout(exportTimeout)), sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.namespace", "foreshadow"), attribute.String("service.name", service))),
	)
	stop := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, exportTimeout)
		defer cancel()
		return provider.Shutdown(ctx)
	}
	return provider, stop, nil
}

// Recommendation is the span in which a recommendation was made. Its identity follows from the recommendation's, so whoever
// knows the one knows the other, whatever was restarted in between.
func Recommendation(id string) trace.SpanContext {
	sum := sha256.Sum256([]byte(id))
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

// Traceparent is the W3C form of a span.
func Traceparent(s trace.SpanContext) string {
	flags := []byte{byte(s.TraceFlags())}
	return "00-" + s.TraceID().String() + "-" + s.SpanID().String() + "-" + hex.EncodeToString(flags)
}

type identity struct{}

// AsRecommendation makes the next span started under ctx that of a recommendation.
func AsRecommendation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, identity{}, Recommendation(id))
}

// ids are random, but for spans that have an identity already.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if s, ok := ctx.Value(identity{}).(trace.SpanContext); ok {
		return s.TraceID(), s.SpanID()
	}
	var t trace.TraceID
	_, _ = rand.Read(t[:]) // never fails
	return t, ids{}.NewSpanID(ctx, t)
}

func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var s trace.SpanID
	_, _ = rand.Read(s[:])
	return s
}
