package console_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const shop = "shop"

// script is what the services upstream say. The room under test is the console, so they say what the test tells them,
// but over real gRPC connections.
type script struct {
	foreshadowv1.UnimplementedHistoryServiceServer
	foreshadowv1.UnimplementedRecommendationServiceServer
	foreshadowv1.UnimplementedForecastServiceServer
	foreshadowv1.UnimplementedProvisioningServiceServer
	foreshadowv1.UnimplementedExperimentServiceServer

	mu            sync.Mutex
	changed       chan struct{} // closed and replaced at each change
	windows       []*foreshadowv1.MetricsWindowed
	recs          []*foreshadowv1.Recommendation
	forecast      *foreshadowv1.Forecast
	abstains      string
	actions       []*foreshadowv1.ScalingApplied
	capacity      []*foreshadowv1.CapacityMeasured
	status        *foreshadowv1.ProvisioningStatus
	windowStreams int // opened so far
	lastQuery     *foreshadowv1.QueryWindowsRequest
	lastHeader    metadata.MD
}

func newScript() *script {
	return &script{
		changed: make(chan struct{}),
		status: &foreshadowv1.ProvisioningStatus{
			Workload: shop, Mode: foreshadowv1.Mode_MODE_AUTOMATIC, Production: &foreshadowv1.Sizing{Instances: 4}, ProductionReadyInstances: 4,
		},
	}
}

// edit changes what is said and wakes the open streams.
func (s *script) edit(change func(*script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

func read[T any](s *script, get func(*script) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return get(s)
}

// follow sends list[from:] and whatever is appended later, until ctx ends.
func follow[T any](ctx context.Context, s *script, list func(*script) []T, send func(T) error) error {
	for next := 0; ; {
		s.mu.Lock()
		todo, changed := slices.Clone(list(s)[next:]), s.changed
		s.mu.Unlock()
		for _, item := range todo {
			if err := send(item); err != nil {
				return err
			}
		}
		next += len(todo)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (s *script) StreamWindows(req *foreshadowv1.StreamWindowsRequest, stream foreshadowv1.HistoryService_StreamWindowsServer) error {
	s.edit(func(s *script) { s.windowStreams++ })
	return follow(stream.Context(), s, func(s *script) []*foreshadowv1.MetricsWindowed { return s.windows }, func(w *foreshadowv1.MetricsWindowed) error {
		if w.StartTime.AsTime().Before(req.GetStartTime().AsTime()) {
			return nil
		}
		return stream.Send(&foreshadowv1.StreamWindowsResponse{Window: w})
	})
}

func (s *script) QueryWindows(_ context.Context, req *foreshadowv1.QueryWindowsRequest) (*foreshadowv1.QueryWindowsResponse, error) {
	if req.GetStartTime() == nil {
		return nil, &rpc.FieldError{Field: "start_time", Problem: "is required"}
	}
	s.edit(func(s *script) { s.lastQuery = req })
	return &foreshadowv1.QueryWindowsResponse{Windows: read(s, func(s *script) []*foreshadowv1.MetricsWindowed { return s.windows })}, nil
}

func (s *script) QueryRecommendations(context.Context, *foreshadowv1.QueryRecommendationsRequest) (*foreshadowv1.QueryRecommendationsResponse, error) {
	newestFirst := slices.Clone(read(s, func(s *script) []*foreshadowv1.Recommendation { return s.recs }))
	slices.Reverse(newestFirst)
	return &foreshadowv1.QueryRecommendationsResponse{Recommendations: newestFirst}, nil
}

func (s *script) QueryCapacityMeasurements(context.Context, *foreshadowv1.QueryCapacityMeasurementsRequest) (*foreshadowv1.QueryCapacityMeasurementsResponse, error) {
	return &foreshadowv1.QueryCapacityMeasurementsResponse{Measurements: read(s, func(s *script) []*foreshadowv1.CapacityMeasured { return s.capacity })}, nil
}

func (s *script) GetRecommendation(context.Context, *foreshadowv1.GetRecommendationRequest) (*foreshadowv1.GetRecommendationResponse, error) {
	recs := read(s, func(s *script) []*foreshadowv1.Recommendation { return s.recs })
	if len(recs) == 0 {
		return nil, rpc.ErrUnavailable
	}
	return &foreshadowv1.GetRecommendationResponse{Recommendation: recs[len(recs)-1]}, nil
}

func (s *script) WatchRecommendations(_ *foreshadowv1.WatchRecommendationsRequest, stream foreshadowv1.RecommendationService_WatchRecommendationsServer) error {
	return follow(stream.Context(), s, func(s *script) []*foreshadowv1.Recommendation { return s.recs }, func(r *foreshadowv1.Recommendation) error {
		return stream.Send(&foreshadowv1.WatchRecommendationsResponse{Recommendation: r})
	})
}

func (s *script) GetForecast(context.Context, *foreshadowv1.GetForecastRequest) (*foreshadowv1.GetForecastResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abstains != "" {
		return nil, abstention(s.abstains)
	}
	return &foreshadowv1.GetForecastResponse{Forecast: s.forecast}, nil
}

func (s *script) ListActions(context.Context, *foreshadowv1.ListActionsRequest) (*foreshadowv1.ListActionsResponse, error) {
	return &foreshadowv1.ListActionsResponse{Actions: read(s, func(s *script) []*foreshadowv1.ScalingApplied { return s.actions })}, nil
}

func (s *script) GetProvisioningStatus(context.Context, *foreshadowv1.GetProvisioningStatusRequest) (*foreshadowv1.GetProvisioningStatusResponse, error) {
	return &foreshadowv1.GetProvisioningStatusResponse{Status: read(s, func(s *script) *foreshadowv1.ProvisioningStatus { return s.status })}, nil
}

func (s *script) PauseProvisioning(ctx context.Context, req *foreshadowv1.PauseProvisioningRequest) (*foreshadowv1.PauseProvisioningResponse, error) {
	header, _ := metadata.FromIncomingContext(ctx)
	s.edit(func(s *script) { s.lastHeader = header })
	s.setPaused(true, req.GetReason(), req.GetActor())
	return &foreshadowv1.PauseProvisioningResponse{Status: read(s, func(s *script) *foreshadowv1.ProvisioningStatus { return s.status })}, nil
}

func (s *script) ResumeProvisioning(_ context.Context, req *foreshadowv1.ResumeProvisioningRequest) (*foreshadowv1.ResumeProvisioningResponse, error) {
	s.setPaused(false, "", req.GetActor())
	return &foreshadowv1.ResumeProvisioningResponse{Status: read(s, func(s *script) *foreshadowv1.ProvisioningStatus { return s.status })}, nil
}

func (s *script) ApproveRecommendation(_ context.Context, req *foreshadowv1.ApproveRecommendationRequest) (*foreshadowv1.ApproveRecommendationResponse, error) {
	if req.GetActor() == "" {
		return nil, &rpc.FieldError{Field: "actor", Problem: "is required: an approval is somebody's"}
	}
	if !slices.Contains(read(s, func(s *script) *foreshadowv1.ProvisioningStatus { return s.status }).GetAwaitingRecommendationIds(), req.GetRecommendationId()) {
		return nil, rpc.ErrNotFound
	}
	s.setPaused(false, "", "")
	return &foreshadowv1.ApproveRecommendationResponse{Status: read(s, func(s *script) *foreshadowv1.ProvisioningStatus { return s.status })}, nil
}

// propose has a change of production wait for a person.
func (s *script) propose(id string, from, to int32, reason string) {
	s.edit(func(s *script) {
		a := action("p-"+id, time.Now(), from, to, foreshadowv1.Outcome_OUTCOME_AWAITING_APPROVAL, reason)
		a.RecommendationId = id
		s.actions = append([]*foreshadowv1.ScalingApplied{a}, s.actions...)
		s.status = &foreshadowv1.ProvisioningStatus{
			Workload: shop, Mode: foreshadowv1.Mode_MODE_APPROVE, Production: s.status.Production, ProductionReadyInstances: s.status.ProductionReadyInstances,
			AwaitingRecommendationIds: []string{id},
		}
	})
}

func (s *script) setPaused(paused bool, reason, actor string) {
	s.edit(func(s *script) {
		// Messages already given out must not change.
		s.status = &foreshadowv1.ProvisioningStatus{
			Workload: shop, Mode: s.status.Mode, Production: s.status.Production, ProductionReadyInstances: s.status.ProductionReadyInstances,
			Paused: paused, PauseReason: reason, PauseActor: actor, PauseTime: timestamppb.New(time.Now()),
		}
	})
}

func (s *script) ListExperiments(context.Context, *foreshadowv1.ListExperimentsRequest) (*foreshadowv1.ListExperimentsResponse, error) {
	return &foreshadowv1.ListExperimentsResponse{Experiments: []*foreshadowv1.Experiment{{
		ExperimentId: "e1", Workload: shop, Amplifications: []float64{1, 2}, State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING,
	}}}, nil
}
