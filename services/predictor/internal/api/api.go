// Package api serves what the predictor knows: RecommendationService, ForecastService and KEDA's ExternalScaler.
package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

const (
	defaultPage = 100
	maxPage     = 1000
	maxHorizon  = 31 * 24 * time.Hour
)

// Forecaster gives the forecast of one workload.
type Forecaster interface {
	Forecast(now time.Time, horizon time.Duration) (*foreshadowv1.Forecast, error)
}

// Server implements both services.
type Server struct {
	foreshadowv1.UnimplementedRecommendationServiceServer
	foreshadowv1.UnimplementedForecastServiceServer

	board       *board.Board
	forecasters map[string]Forecaster
	now         func() time.Time
}

// New returns the server for the given workloads.
func New(b *board.Board, forecasters map[string]Forecaster, now func() time.Time) *Server {
	return &Server{board: b, forecasters: forecasters, now: now}
}

// Register registers every service, KEDA's included.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	foreshadowv1.RegisterRecommendationServiceServer(r, s)
	foreshadowv1.RegisterForecastServiceServer(r, s)
	registerKEDA(r, s)
}

func (s *Server) known(workload string) error {
	if workload == "" {
		return &rpc.FieldError{Field: "workload", Problem: "is required"}
	}
	if _, ok := s.forecasters[workload]; !ok {
		return fmt.Errorf("workload %q: %w", workload, rpc.ErrNotFound)
	}
	return nil
}

// newest returns the newest recommendation of a known workload.
func (s *Server) newest(workload string) (*foreshadowv1.Recommendation, error) {
	if err := s.known(workload); err != nil {
		return nil, err
	}
	r := s.board.Get(workload)
	if r == nil {
		return nil, fmt.Errorf("workload %q has no recommendation yet: %w", workload, rpc.ErrUnavailable)
	}
	return r, nil
}

// GetRecommendation returns the newest recommendation of one workload.
func (s *Server) GetRecommendation(_ context.Context, req *foreshadowv1.GetRecommendationRequest) (*foreshadowv1.GetRecommendationResponse, error) {
	r, err := s.newest(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.GetRecommendationResponse{Recommendation: r}, nil
}

// ListRecommendations returns the newest recommendation of every workload; the page token is the last name sent.
func (s *Server) ListRecommendations(_ context.Context, req *foreshadowv1.ListRecommendationsRequest) (*foreshadowv1.ListRecommendationsResponse, error) {
	size := int(req.GetPageSize())
	switch {
	case size < 0 || size > maxPage:
		return nil, &rpc.FieldError{Field: "page_size", Problem: fmt.Sprintf("want 0 to %d, got %d", maxPage, size)}
	case size == 0:
		size = defaultPage
	}
	all := slices.DeleteFunc(s.board.All(), func(r *foreshadowv1.Recommendation) bool { return r.GetWorkload() <= req.GetPageToken() })
	resp := &foreshadowv1.ListRecommendationsResponse{Recommendations: all[:min(size, len(all))]}
	if len(all) > size {
		resp.NextPageToken = all[size-1].GetWorkload()
	}
	return resp, nil
}

// WatchRecommendations sends the newest recommendation and then every newer one that the reader is quick enough for.
func (s *Server) WatchRecommendations(req *foreshadowv1.WatchRecommendationsRequest, stream grpc.ServerStreamingServer[foreshadowv1.WatchRecommendationsResponse]) error {
	if err := s.known(req.GetWorkload()); err != nil {
		return err
	}
	after := req.GetAfterGeneration()
	for {
		r, err := s.board.Next(stream.Context(), req.GetWorkload(), after)
		if err != nil {
			return err
		}
		if err := stream.Send(&foreshadowv1.WatchRecommendationsResponse{Recommendation: r}); err != nil {
			return err
		}
		after = r.GetGeneration()
	}
}

// GetForecast returns the forecast of one workload.
func (s *Server) GetForecast(_ context.Context, req *foreshadowv1.GetForecastRequest) (*foreshadowv1.GetForecastResponse, error) {
	if err := s.known(req.GetWorkload()); err != nil {
		return nil, err
	}
	horizon := req.GetHorizonSeconds()
	if !(horizon >= 0 && horizon <= maxHorizon.Seconds()) {
		return nil, &rpc.FieldError{Field: "horizon_seconds", Problem: fmt.Sprintf("want 0 to %.0f, got %v", maxHorizon.Seconds(), horizon)}
	}
	f, err := s.forecasters[req.GetWorkload()].Forecast(s.now(), time.Duration(horizon*float64(time.Second)))
	var abstained *forecast.Abstention
	if errors.As(err, &abstained) {
		return nil, fmt.Errorf("%s: %w", abstained.Reason, rpc.ErrPrecondition)
	}
	if err != nil {
		return nil, fmt.Errorf("forecast workload %q: %w", req.GetWorkload(), err)
	}
	return &foreshadowv1.GetForecastResponse{Forecast: f}, nil
}
