package foreshadowv1_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// A controller of your own: it follows what is recommended for one workload, never sees an older recommendation after a
// newer one, and goes on where it was when the predictor was restarted. Against a secured predictor, dial with
// credentials.NewTLS(...) and send `authorization: Bearer <token>`.
func ExampleRecommendationServiceClient() {
	address, restart, stop := examplePredictor()
	defer stop()

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client := foreshadowv1.NewRecommendationServiceClient(conn)

	var generation uint64 // the newest that was acted upon; keep it where you keep your own state
	for generation < 3 {
		stream, err := client.WatchRecommendations(context.Background(), &foreshadowv1.WatchRecommendationsRequest{
			Workload: "shop", AfterGeneration: generation,
		}, grpc.WaitForReady(true))
		for err == nil {
			var m *foreshadowv1.WatchRecommendationsResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			r := m.GetRecommendation()
			generation = r.GetGeneration()
			fmt.Printf("generation %d: %d instances, %s\n", generation, r.GetProduction().GetInstances(), r.GetReasons()[0].GetText())
		}
		if generation == 2 {
			restart()
		}
		time.Sleep(pause(err))
	}

	_, err = client.GetRecommendation(context.Background(), &foreshadowv1.GetRecommendationRequest{})
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			fmt.Println(status.Code(err), bad.GetFieldViolations()[0].GetField(), bad.GetFieldViolations()[0].GetDescription())
		}
	}
	// Output:
	// generation 1: 2 instances, calm
	// generation 2: 5 instances, a sale begins
	// generation 3: 3 instances, the sale ends
	// InvalidArgument workload is required
}

// pause is how long to wait before another try: what the server said, or a moment.
func pause(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 100 * time.Millisecond
}

// script is a predictor that says one line after the other, and goes away after the second.
type script struct {
	foreshadowv1.UnimplementedRecommendationServiceServer
	lines []*foreshadowv1.Recommendation
}

func (s script) WatchRecommendations(req *foreshadowv1.WatchRecommendationsRequest, stream grpc.ServerStreamingServer[foreshadowv1.WatchRecommendationsResponse]) error {
	for _, r := range s.lines {
		if r.GetGeneration() <= req.GetAfterGeneration() {
			continue
		}
		if err := stream.Send(&foreshadowv1.WatchRecommendationsResponse{Recommendation: r}); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "the server is stopping")
}

func (script) GetRecommendation(_ context.Context, req *foreshadowv1.GetRecommendationRequest) (*foreshadowv1.GetRecommendationResponse, error) {
	return nil, &rpc.FieldError{Field: "workload", Problem: "is required"}
}

// examplePredictor serves the first two lines, and all three of them after a restart.
func examplePredictor() (address string, restart, stop func()) {
	line := func(generation uint64, instances int32, why string) *foreshadowv1.Recommendation {
		return &foreshadowv1.Recommendation{
			Workload: "shop", Generation: generation, Production: &foreshadowv1.Sizing{Instances: instances},
			Reasons: []*foreshadowv1.Reason{{Text: why}},
		}
	}
	lines := []*foreshadowv1.Recommendation{line(1, 2, "calm"), line(2, 5, "a sale begins"), line(3, 3, "the sale ends")}
	serve := func(at string, lines []*foreshadowv1.Recommendation) (string, func()) {
		ln, err := rpc.Listen(at)
		if err != nil {
			panic(err)
		}
		s := rpc.NewServer(slog.New(slog.DiscardHandler))
		foreshadowv1.RegisterRecommendationServiceServer(s, script{lines: lines})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }()
		return ln.Addr().String(), func() { cancel(); <-done }
	}
	address, end := serve("127.0.0.1:0", lines[:2])
	return address, func() {
		end()
		_, end = serve(address, lines)
	}, func() { end() }
}
