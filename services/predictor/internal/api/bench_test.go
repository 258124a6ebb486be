package api_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/api"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

// edges are the plain and the secured way to call; limits are out of the way.
func edges(b *testing.B) map[string]*rpc.Edge {
	b.Helper()
	ca := rpctest.NewAuthority(b)
	pair := ca.Issue("both", rpctest.Identity{URIs: []string{"spiffe://example.org/both"}})
	out := map[string]*rpc.Edge{}
	for name, secured := range map[string]bool{"plain": false, "mtls": true} {
		cfg := rpc.Default()
		cfg.Limits.CallsPerSecond = 1e9
		if secured {
			cfg.TLS = rpc.TLS{Certificate: pair.Certificate, Key: pair.Key, CA: ca.File}
			cfg.Allow = []rpc.Rule{{Service: "foreshadow.v1.RecommendationService", Identities: []string{"spiffe://example.org/both"}}}
		}
		e, err := rpc.New(cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			b.Fatal(err)
		}
		out[name] = e
	}
	return out
}

// benched is a served board and connections to it.
func benched(b *testing.B, e *rpc.Edge, connections int) (*board.Board, []*grpc.ClientConn) {
	b.Helper()
	ln, err := e.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	bd := board.New()
	s := e.NewServer(slog.New(slog.DiscardHandler))
	api.New(api.Config{Board: bd, Now: time.Now, Forecasters: map[string]api.Forecaster{"shop": forecaster{}}}).Register(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	conns := make([]*grpc.ClientConn, connections)
	for i := range conns {
		if conns[i], err = e.Dial(ln.Addr().String()); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
		bd.Close()
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return bd, conns
}

func recommended(generation uint64) *foreshadowv1.Recommendation {
	return &foreshadowv1.Recommendation{
		Workload: "shop", RecommendationId: "shop-1", Generation: generation, Production: &foreshadowv1.Sizing{Instances: 7, CpuCores: 0.5},
		Evidence: &foreshadowv1.Evidence{DemandPerSecond: 420, CapacityPerSecond: 65}, ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
		Reasons: []*foreshadowv1.Reason{{Code: "forecast_above_committed", Text: "a sale begins in 8 s; that takes 9 instances"}},
	}
}

// BenchmarkGetRecommendation is the latency of one call after the other.
func BenchmarkGetRecommendation(b *testing.B) {
	for name, e := range edges(b) {
		b.Run(name, func(b *testing.B) {
			bd, conns := benched(b, e, 1)
			bd.Post(recommended(1))
			client := foreshadowv1.NewRecommendationServiceClient(conns[0])
			for b.Loop() {
				if _, err := client.GetRecommendation(b.Context(), &foreshadowv1.GetRecommendationRequest{Workload: "shop"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWatchFanOut is the time from a post until the last of 500 watchers, on 20 connections, has it.
func BenchmarkWatchFanOut(b *testing.B) {
	const watchers, connections = 500, 20
	for name, e := range edges(b) {
		b.Run(name, func(b *testing.B) {
			bd, conns := benched(b, e, connections)
			ctx, cancel := context.WithCancel(context.Background())
			var readers, round sync.WaitGroup
			round.Add(watchers)
			for i := range watchers {
				stream, err := foreshadowv1.NewRecommendationServiceClient(conns[i%connections]).WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{Workload: "shop"})
				if err != nil {
					b.Fatal(err)
				}
				readers.Go(func() {
					for {
						if _, err := stream.Recv(); err != nil {
							return
						}
						round.Done()
					}
				})
			}
			generation := uint64(1)
			bd.Post(recommended(generation)) // once all have this one, all are there
			round.Wait()
			for b.Loop() {
				round.Add(watchers)
				generation++
				bd.Post(recommended(generation))
				round.Wait()
			}
			cancel()
			readers.Wait()
		})
	}
}
