// Package api serves what the predictor knows: RecommendationService, ForecastService and KEDA's ExternalScaler.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/proto/externalscaler"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// resend repeats the state on KEDA's open stream, so that a KEDA that missed one message is not wrong for long.
	resend = 10 * time.Second
)

// Forecaster gives the forecast of one workload.
type Forecaster interface {
	// MaxHorizon is the longest horizon that may be asked for.
	MaxHorizon() time.Duration
	// Forecast looks as far ahead as horizon, or as the decision does when that is 0. Its error is a
	// *forecast.Abstention when there is no forecast.
	Forecast(now time.Time, horizon time.Duration) (*foreshadowv1.Forecast, error)
}

// Config is what the server works with.
type Config struct {
	Board *board.Board
	// Forecasters of every workload there is, by its name.
	Forecasters map[string]Forecaster
	// Now is the clock that recommendations expire by.
	Now func() time.Time
	// Resend is the time after which KEDA's stream repeats the state; 0 = 10 s.
	Resend time.Duration
}

// Server implements both services.
type Server struct {
	foreshadowv1.UnimplementedRecommendationServiceServer
	foreshadowv1.UnimplementedForecastServiceServer

	cfg Config
	// turns bounds the forecasts that are made for callers at once: each takes up to some ten milliseconds of a core, and the
	// decisions of its workload wait for it.
	turns chan struct{}
}

// New returns the server.
func New(cfg Config) *Server {
	cfg.Resend = cmp.Or(cfg.Resend, resend)
	return &Server{cfg: cfg, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// Register registers every service, KEDA's included.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	foreshadowv1.RegisterRecommendationServiceServer(r, s)
	foreshadowv1.RegisterForecastServiceServer(r, s)
	externalscaler.RegisterExternalScalerServer(r, keda{server: s})
}

func (s *Server) known(workload string) error {
	if workload == "" {
		return &rpc.FieldError{Field: "workload", Problem: "is required"}
	}
	if _, ok := s.cfg.Forecasters[workload]; !ok {
		return fmt.Errorf("workload %q: %w", workload, rpc.ErrNotFound)
	}
	return nil
}

// newest returns the newest recommendation of a known workload.
func (s *Server) newest(workload string) (*foreshadowv1.Recommendation, error) {
	if err := s.known(workload); err != nil {
		return nil, err
	}
	r := s.cfg.Board.Get(workload)
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

// ListRecommendations returns the newest recommendation of every workload; a page ends at a name.
func (s *Server) ListRecommendations(_ context.Context, req *foreshadowv1.ListRecommendationsRequest) (*foreshadowv1.ListRecommendationsResponse, error) {
	size, err := rpc.PageSize(req.GetPageSize(), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	asked := &foreshadowv1.ListRecommendationsRequest{}
	after, err := rpc.PagePosition(asked, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(s.cfg.Board.All(), func(r *foreshadowv1.Recommendation) bool { return r.GetWorkload() <= after })
	resp := &foreshadowv1.ListRecommendationsResponse{Recommendations: all[:min(size, len(all))]}
	if len(all) > size {
		resp.NextPageToken = rpc.PageToken(asked, all[size-1].GetWorkload())
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
		r, err := s.next(stream.Context(), req.GetWorkload(), after)
		if err != nil {
			return err
		}
		if err := stream.Send(&foreshadowv1.WatchRecommendationsResponse{Recommendation: r}); err != nil {
			return err
		}
		after = r.GetGeneration()
	}
}

// next waits for a newer recommendation; a server that stops says that another may be asked.
func (s *Server) next(ctx context.Context, workload string, after uint64) (*foreshadowv1.Recommendation, error) {
	r, err := s.cfg.Board.Next(ctx, workload, after)
	if errors.Is(err, board.ErrClosed) {
		return nil, fmt.Errorf("watch workload %q: %w: %w", workload, err, rpc.ErrUnavailable)
	}
	return r, err
}

// GetForecast returns the forecast of one workload.
func (s *Server) GetForecast(ctx context.Context, req *foreshadowv1.GetForecastRequest) (*foreshadowv1.GetForecastResponse, error) {
	if err := s.known(req.GetWorkload()); err != nil {
		return nil, err
	}
	f := s.cfg.Forecasters[req.GetWorkload()]
	horizon, most := req.GetHorizonSeconds(), f.MaxHorizon().Seconds()
	if !(horizon >= 0 && horizon <= most) {
		return nil, &rpc.FieldError{Field: "horizon_seconds", Problem: fmt.Sprintf("want 0 to %.0f, got %v", most, horizon)}
	}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	expected, err := f.Forecast(s.cfg.Now(), time.Duration(horizon*float64(time.Second)))
	var abstained *forecast.Abstention
	if errors.As(err, &abstained) {
		return nil, fmt.Errorf("%s: %w", abstained.Reason, rpc.ErrPrecondition)
	}
	if err != nil {
		return nil, fmt.Errorf("forecast workload %q: %w", req.GetWorkload(), err)
	}
	return &foreshadowv1.GetForecastResponse{Forecast: expected}, nil
}
