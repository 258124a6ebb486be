package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

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

// patience is the longest a test waits for what must come; nothing passes or fails by being slow.
const patience = 30 * time.Second

// services answer in a way that shows who asked, wait, panic, or fill a stream.
type services struct {
	foreshadowv1.UnimplementedForecastServiceServer
	foreshadowv1.UnimplementedRecommendationServiceServer
	foreshadowv1.UnimplementedProvisioningServiceServer
}

func (services) GetForecast(ctx context.Context, req *foreshadowv1.GetForecastRequest) (*foreshadowv1.GetForecastResponse, error) {
	switch req.Workload {
	case "":
		return nil, &rpc.FieldError{Field: "workload", Problem: "is required"}
	case "panic":
		panic("boom")
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "nobody":
		return nil, fmt.Errorf("workload %q: %w", req.Workload, rpc.ErrNotFound)
	}
	return &foreshadowv1.GetForecastResponse{Forecast: &foreshadowv1.Forecast{Workload: req.Workload, Method: rpc.CallerName(ctx)}}, nil
}

func (services) PauseProvisioning(ctx context.Context, _ *foreshadowv1.PauseProvisioningRequest) (*foreshadowv1.PauseProvisioningResponse, error) {
	return &foreshadowv1.PauseProvisioningResponse{Status: &foreshadowv1.ProvisioningStatus{PauseActor: rpc.CallerName(ctx)}}, nil
}

// WatchRecommendations sends one message and stays, or fills the stream of a reader that does not read.
func (services) WatchRecommendations(req *foreshadowv1.WatchRecommendationsRequest, stream grpc.ServerStreamingServer[foreshadowv1.WatchRecommendationsResponse]) error {
	for {
		err := stream.Send(&foreshadowv1.WatchRecommendationsResponse{
			Recommendation: &foreshadowv1.Recommendation{Workload: req.Workload, RecommendationId: fmt.Sprintf("%08192d", 1)},
		})
		if err != nil {
			return err
		}
		if req.Workload != "endless" {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
	}
}

// start runs a server of the edge and returns its address.
func start(t testing.TB, e *rpc.Edge) string {
	t.Helper()
	ln, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := e.NewServer(slog.New(slog.DiscardHandler))
	foreshadowv1.RegisterForecastServiceServer(s, services{})
	foreshadowv1.RegisterRecommendationServiceServer(s, services{})
	foreshadowv1.RegisterProvisioningServiceServer(s, services{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v after a clean stop", err)
		}
	})
	return ln.Addr().String()
}

func edge(t testing.TB, change func(*rpc.Config)) *rpc.Edge {
	t.Helper()
	cfg := rpc.Default()
	change(&cfg)
	e, err := rpc.New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dial(t testing.TB, e *rpc.Edge, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := e.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func serve(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return dial(t, nil, start(t, nil))
}

func TestStoppedBeforeItBeginsIsACleanStop(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		e := edge(t, func(*rpc.Config) {})
		ln, err := e.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.NewServer(slog.New(slog.DiscardHandler)).Serve(ended, ln); err != nil {
			t.Fatalf("Serve = %v", err)
		}
	}
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
		"": codes.InvalidArgument, "nobody": codes.NotFound, "panic": codes.Internal, "shop": codes.OK,
	} {
		_, err := client.GetForecast(t.Context(), &foreshadowv1.GetForecastRequest{Workload: workload})
		if got := status.Code(err); got != want {
			t.Errorf("workload %q: code %v, want %v (%v)", workload, got, want, err)
		}
	}
}

func TestTheServersDeadlineEndsACallThatHasALongerOne(t *testing.T) {
	t.Parallel()
	e := edge(t, func(c *rpc.Config) { c.Limits.Deadline = 50 * time.Millisecond })
	client := foreshadowv1.NewForecastServiceClient(dial(t, nil, start(t, e)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := client.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: "wait"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call that waits for ever ends with %v", err)
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
