package api_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/api"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Unix(1_700_000_000, 0).UTC()

// clock is the server's, moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// forecaster is an engine at the edge: it answers or abstains.
type forecaster struct{ err error }

// busy is an engine that takes until it is released, or long; it says when it is asked.
type busy struct {
	forecaster
	asked, release chan struct{}
}

func (b busy) Forecast(now time.Time, horizon time.Duration) (*foreshadowv1.Forecast, error) {
	b.asked <- struct{}{}
	select {
	case <-b.release:
	case <-time.After(5 * time.Second):
	}
	return b.forecaster.Forecast(now, horizon)
}

func (forecaster) MaxHorizon() time.Duration { return time.Hour }

func (f forecaster) Forecast(_ time.Time, horizon time.Duration) (*foreshadowv1.Forecast, error) {
	return &foreshadowv1.Forecast{Workload: "shop", StepSeconds: horizon.Seconds()}, f.err
}

type rig struct {
	conn  *grpc.ClientConn
	board *board.Board
	clock *clock
	stop  func()

	address string
}

func serve(t *testing.T, resend time.Duration) *rig {
	t.Helper()
	r := serveAt(t, nil, "127.0.0.1:0", resend)
	var err error
	if r.conn, err = rpc.Dial(r.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.conn.Close()
		r.stop()
	})
	return r
}

// serveAt serves until stop is called.
func serveAt(t *testing.T, edge *rpc.Edge, address string, resend time.Duration) *rig {
	t.Helper()
	ln, err := edge.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{board: board.New(), clock: &clock{now: epoch}, address: ln.Addr().String()}
	s := edge.NewServer(slog.New(slog.DiscardHandler))
	api.New(api.Config{Board: r.board, Now: r.clock.Now, Resend: resend, Forecasters: map[string]api.Forecaster{
		"shop": forecaster{}, "bank": forecaster{err: &forecast.Abstention{Reason: "too little history"}}, "mill": forecaster{err: errors.New("boom")},
	}}).Register(s)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		r.board.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) post(workload string, generation uint64, instances int32) {
	r.board.Post(&foreshadowv1.Recommendation{
		Workload: workload, Generation: generation, Production: &foreshadowv1.Sizing{Instances: instances},
		ExpireTime: timestamppb.New(epoch.Add(time.Minute)),
	})
}

func TestGetRecommendation(t *testing.T) {
	t.Parallel()
	r := serve(t, 0)
	client := foreshadowv1.NewRecommendationServiceClient(r.conn)
	r.post("shop", 7, 3)
	for workload, want := range map[string]codes.Code{
		"": codes.InvalidArgument, "nobody": codes.NotFound, "bank": codes.Unavailable, "shop": codes.OK,
	} {
		resp, err := client.GetRecommendation(t.Context(), &foreshadowv1.GetRecommendationRequest{Workload: workload})
		if status.Code(err) != want {
			t.Errorf("workload %q: %v, want %v", workload, err, want)
		}
		if err == nil && resp.GetRecommendation().GetGeneration() != 7 {
			t.Errorf("got %v", resp)
		}
	}
}

func TestListRecommendationsInPages(t *testing.T) {
	t.Parallel()
	r := serve(t, 0)
	client := foreshadowv1.NewRecommendationServiceClient(r.conn)
	want := []string{"a", "b", "c", "d", "e"}
	for i := range want {
		r.post(want[len(want)-1-i], 1, 1)
	}
	for _, size := range []int32{0, 1, 2, 5, 1 << 30} {
		req := &foreshadowv1.ListRecommendationsRequest{PageSize: size}
		var got []string
		for {
			resp, err := client.ListRecommendations(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(resp.GetRecommendations()); size > 0 && n > int(size) {
				t.Errorf("page of %d, asked for %d", n, size)
			}
			for _, r := range resp.GetRecommendations() {
				got = append(got, r.GetWorkload())
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %d (-want +got):\n%s", size, diff)
		}
	}
	if _, err := client.ListRecommendations(t.Context(), &foreshadowv1.ListRecommendationsRequest{PageSize: -1}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("negative page: %v", err)
	}
	_, err := client.ListRecommendations(t.Context(), &foreshadowv1.ListRecommendationsRequest{PageToken: "shop"})
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), "page_token") {
		t.Errorf("a token that was never handed out: %v", err)
	}
}

func TestWatchResumesAfterAGenerationAndEndsWithTheService(t *testing.T) {
	t.Parallel()
	r := serve(t, 0)
	client := foreshadowv1.NewRecommendationServiceClient(r.conn)
	r.post("shop", 5, 1)
	stream, err := client.WatchRecommendations(t.Context(), &foreshadowv1.WatchRecommendationsRequest{Workload: "shop", AfterGeneration: 5})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := client.WatchRecommendations(t.Context(), &foreshadowv1.WatchRecommendationsRequest{Workload: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	next := func(s grpc.ServerStreamingClient[foreshadowv1.WatchRecommendationsResponse]) uint64 {
		t.Helper()
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m.GetRecommendation().GetGeneration()
	}
	if got := next(fresh); got != 5 {
		t.Errorf("a fresh watch begins with %d, want the newest at once", got)
	}
	r.post("bank", 9, 1)
	r.post("shop", 4, 1)
	r.post("shop", 6, 1)
	if got := next(stream); got != 6 {
		t.Errorf("resumed after 5 with %d, want 6", got)
	}
	if got := next(fresh); got != 6 {
		t.Errorf("after 5 came %d, want 6", got)
	}
	go r.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a watch of a service that stops ends with %v, want UNAVAILABLE", err)
	}
	unknown, err := client.WatchRecommendations(t.Context(), &foreshadowv1.WatchRecommendationsRequest{Workload: "nobody"})
	if err == nil {
		_, err = unknown.Recv()
	}
	if c := status.Code(err); c != codes.NotFound && c != codes.Unavailable { // the server may have gone by now
		t.Errorf("watch of nobody: %v", err)
	}
}

func TestGetForecast(t *testing.T) {
	t.Parallel()
	client := foreshadowv1.NewForecastServiceClient(serve(t, 0).conn)
	for name, c := range map[string]struct {
		workload string
		horizon  float64
		code     codes.Code
		message  string
	}{
		"good":           {"shop", 30, codes.OK, ""},
		"own horizon":    {"shop", 0, codes.OK, ""},
		"abstains":       {"bank", 30, codes.FailedPrecondition, "too little history"},
		"fails":          {"mill", 30, codes.Internal, `forecast workload "mill": boom`},
		"nobody":         {"nobody", 30, codes.NotFound, `workload "nobody": not found`},
		"nameless":       {"", 30, codes.InvalidArgument, "workload: is required"},
		"negative":       {"shop", -1, codes.InvalidArgument, "horizon_seconds: want 0 to 3600, got -1"},
		"not a number":   {"shop", math.NaN(), codes.InvalidArgument, "horizon_seconds: want 0 to 3600, got NaN"},
		"beyond measure": {"shop", 3601, codes.InvalidArgument, "horizon_seconds: want 0 to 3600, got 3601"},
	} {
		resp, err := client.GetForecast(t.Context(), &foreshadowv1.GetForecastRequest{Workload: c.workload, HorizonSeconds: c.horizon})
		if s := status.Convert(err); s.Code() != c.code || s.Message() != c.message {
			t.Errorf("%s: %v, want %v %q", name, err, c.code, c.message)
		}
		if err == nil && resp.GetForecast().GetStepSeconds() != c.horizon {
			t.Errorf("%s: asked the engine for %v s", name, resp.GetForecast().GetStepSeconds())
		}
	}
}

// A decision waits for the forecasts that callers have asked for of its workload: they may be many, and must not be asked of the
// engine all at once. One whose caller has left must not be asked for at all.
func TestForecastsForCallersAreMadeAFewAtOnce(t *testing.T) {
	t.Parallel()
	engine := busy{asked: make(chan struct{}, 100), release: make(chan struct{})}
	s := api.New(api.Config{Board: board.New(), Now: time.Now, Forecasters: map[string]api.Forecaster{"shop": engine}})
	req := &foreshadowv1.GetForecastRequest{Workload: "shop"}
	var calls sync.WaitGroup
	few := max(1, runtime.GOMAXPROCS(0)/2)
	for range few {
		calls.Go(func() {
			if _, err := s.GetForecast(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
		<-engine.asked
	}
	left, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer leave()
	if _, err := s.GetForecast(left, req); !errors.Is(err, context.DeadlineExceeded) || len(engine.asked) > 0 {
		t.Errorf("a call beyond the %d that are made ended with %v; the engine was asked %d times more", few, err, len(engine.asked))
	}
	close(engine.release)
	calls.Wait()
}
