package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type forecasts struct {
	foreshadowv1.UnimplementedForecastServiceServer
}

func (forecasts) GetForecast(_ context.Context, req *foreshadowv1.GetForecastRequest) (*foreshadowv1.GetForecastResponse, error) {
	switch req.Workload {
	case "":
		return nil, &rpc.FieldError{Field: "workload", Problem: "is required"}
	case "panic":
		panic("boom")
	}
	return nil, fmt.Errorf("workload %q: %w", req.Workload, rpc.ErrNotFound)
}

func serve(t *testing.T) *grpc.ClientConn {
	t.Helper()
	ln, err := rpc.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(slog.New(slog.DiscardHandler))
	foreshadowv1.RegisterForecastServiceServer(s, forecasts{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	conn, err := rpc.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v after a clean stop", err)
		}
	})
	return conn
}

func TestServerHasHealthAndReflection(t *testing.T) {
	t.Parallel()
	conn := serve(t)
	for _, service := range []string{"", "foreshadow.v1.ForecastService"} {
		resp, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || resp.Status != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q = %v, %v", service, resp, err)
		}
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range resp.GetListServicesResponse().GetService() {
		found = found || s.Name == "foreshadow.v1.ForecastService"
	}
	if !found {
		t.Errorf("reflection lists %v", resp)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestErrorsHaveTheirCode(t *testing.T) {
	t.Parallel()
	client := foreshadowv1.NewForecastServiceClient(serve(t))
	for workload, want := range map[string]codes.Code{
		"": codes.InvalidArgument, "nobody": codes.NotFound, "panic": codes.Internal,
	} {
		_, err := client.GetForecast(t.Context(), &foreshadowv1.GetForecastRequest{Workload: workload})
		if got := status.Code(err); got != want {
			t.Errorf("workload %q: code %v, want %v (%v)", workload, got, want, err)
		}
	}
	wrapped := map[error]codes.Code{
		fmt.Errorf("a: %w", rpc.ErrUnavailable): codes.Unavailable, fmt.Errorf("a: %w", rpc.ErrPrecondition): codes.FailedPrecondition,
		fmt.Errorf("a: %w", rpc.ErrExhausted): codes.ResourceExhausted, fmt.Errorf("a: %w", context.Canceled): codes.Canceled,
		context.DeadlineExceeded: codes.DeadlineExceeded, status.Error(codes.Aborted, "x"): codes.Aborted,
	}
	for err, want := range wrapped {
		if got := status.Code(rpc.Status(err)); got != want {
			t.Errorf("%v maps to %v, want %v", err, got, want)
		}
	}
}

func TestListenNamesTheAddress(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if _, err := rpc.Listen(ln.Addr().String()); err == nil {
		t.Error("listened twice")
	}
}
