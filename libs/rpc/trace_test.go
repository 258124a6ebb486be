package rpc_test

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// TestACallIsOneTrace: the server's span hangs below the client's, and both below the caller's own.
func TestACallIsOneTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	e := edge(t, func(*rpc.Config) {})
	e.Trace(tracing)
	conn := dial(t, e, start(t, e))
	ctx, caller := tracing.Tracer("test").Start(t.Context(), "caller")
	if _, err := foreshadowv1.NewForecastServiceClient(conn).GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: "shop"}); err != nil {
		t.Fatal(err)
	}
	caller.End()
	by := map[trace.SpanKind]sdktrace.ReadOnlySpan{}
	eventually(t, "the spans of both ends", func() bool {
		for _, s := range spans.Ended() {
			by[s.SpanKind()] = s
		}
		return by[trace.SpanKindServer] != nil && by[trace.SpanKindClient] != nil
	})
	client, server := by[trace.SpanKindClient], by[trace.SpanKindServer]
	if client.Parent().SpanID() != caller.SpanContext().SpanID() || server.Parent().SpanID() != client.SpanContext().SpanID() {
		t.Errorf("client below %v, server below %v", client.Parent(), server.Parent())
	}
	if server.Name() != "foreshadow.v1.ForecastService/GetForecast" {
		t.Errorf("span %q", server.Name())
	}
}
