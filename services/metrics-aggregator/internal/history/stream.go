package history

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

const (
	// poll is how often a stream looks by itself: a commit of another process rings no bell here.
	poll = time.Second
	// changes bounds what is followed at once: windows come whole, whatever they hold.
	changes = 50
	// forever is after every window there can be.
	forever = 24 * time.Hour
)

// StreamWindows implements foreshadowv1.HistoryServiceServer. The place in the list of changes is taken before the past is
// read, so what changes meanwhile is sent again afterwards: twice perhaps, never not at all.
func (s *Server) StreamWindows(req *foreshadowv1.StreamWindowsRequest, stream grpc.ServerStreamingServer[foreshadowv1.StreamWindowsResponse]) error {
	if err := s.checkWorkload(req.Workload); err != nil {
		return err
	}
	for _, e := range req.Environments {
		if err := checkEnvironment("environments", e); err != nil {
			return err
		}
	}
	if req.StartTime != nil && req.StartTime.CheckValid() != nil {
		return &rpc.FieldError{Field: "start_time", Problem: req.StartTime.CheckValid().Error()}
	}
	ctx := stream.Context()
	at, err := window.LastChange(ctx, s.pool, req.Workload)
	if err != nil {
		return database.Away(err)
	}
	if req.StartTime != nil {
		if err := s.sendPast(ctx, req, stream); err != nil {
			return err
		}
	}
	return s.follow(ctx, req, at, stream)
}

// sendPast sends what is stored, by environment and kind, oldest first.
func (s *Server) sendPast(ctx context.Context, req *foreshadowv1.StreamWindowsRequest, stream grpc.ServerStreamingServer[foreshadowv1.StreamWindowsResponse]) error {
	environments := req.Environments
	if len(environments) == 0 {
		environments = []foreshadowv1.Environment{foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, foreshadowv1.Environment_ENVIRONMENT_SHADOW}
	}
	for _, e := range environments {
		r := window.Range{Workload: req.Workload, Environment: e, From: req.StartTime.AsTime(), To: s.now().Add(forever)}
		for _, read := range []source{
			func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
				return listTraffic(ctx, s, r, after, limit)
			},
			func(ctx context.Context, after window.Position, limit int) ([]window.Item, error) {
				return window.ListUsage(ctx, s.pool, r, after, limit)
			},
		} {
			if err := sendAll(ctx, read, stream); err != nil {
				return err
			}
		}
	}
	return nil
}

func sendAll(ctx context.Context, read source, stream grpc.ServerStreamingServer[foreshadowv1.StreamWindowsResponse]) error {
	for at := (window.Position{}); ; {
		items, err := read(ctx, at, batch)
		if err != nil {
			return database.Away(err)
		}
		for _, item := range items {
			at = item.Position
			if err := stream.Send(&foreshadowv1.StreamWindowsResponse{Window: item.Window}); err != nil {
				return err
			}
		}
		if len(items) == 0 {
			return nil
		}
	}
}

// follow sends changes until the client goes away.
func (s *Server) follow(ctx context.Context, req *foreshadowv1.StreamWindowsRequest, at int64, stream grpc.ServerStreamingServer[foreshadowv1.StreamWindowsResponse]) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		heard := s.bell.Heard()
		began := s.now()
		windows, last, err := window.Changed(ctx, s.pool, req.Workload, at, changes)
		if err != nil {
			return database.Away(err)
		}
		for _, w := range windows {
			if len(req.Environments) > 0 && !slices.Contains(req.Environments, w.Environment) {
				continue
			}
			if err := stream.Send(&foreshadowv1.StreamWindowsResponse{Window: w}); err != nil {
				return err
			}
		}
		if s.now().Sub(began) > database.ChangesKept/2 {
			return fmt.Errorf("the client was too slow to follow the changes: %w", rpc.ErrExhausted)
		}
		if last != at {
			at = last
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return fmt.Errorf("the server is stopping: %w", rpc.ErrUnavailable)
		case <-heard:
		case <-ticker.C:
		}
	}
}
