// Package api serves ProvisioningService.
package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/rollout"
)

// Workload is one that is provisioned.
type Workload struct {
	Declared   workload.Workload
	Production *rollout.Lane
	Shadow     *rollout.Lane
}

// States reads what runs.
type States interface {
	State(ctx context.Context, group string) (platform.State, error)
}

// History has the actions of all times; foreshadowv1.HistoryServiceClient is one.
type History interface {
	QueryScalingActions(ctx context.Context, in *foreshadowv1.QueryScalingActionsRequest, opts ...grpc.CallOption) (*foreshadowv1.QueryScalingActionsResponse, error)
}

// Memory has the actions since the start, newest first.
type Memory interface {
	Newest(workload string) []*foreshadowv1.ScalingApplied
}

// API implements foreshadowv1.ProvisioningServiceServer.
type API struct {
	foreshadowv1.UnimplementedProvisioningServiceServer
	// Workloads by name.
	Workloads map[string]Workload
	States    States
	Journal   *journal.Journal
	// History may be nil.
	History History
	Memory  Memory
	Now     func() time.Time
}

const (
	defaultPage = 100
	maxPage     = 1000
	// maxNote bounds what a person may say about a pause.
	maxNote = 1000
	// memoryToken begins the tokens of pages from memory; the others are history's.
	memoryToken = "memory:"
)

func (a *API) workload(name string) (Workload, error) {
	if name == "" {
		return Workload{}, &rpc.FieldError{Field: "workload", Problem: "is required"}
	}
	w, known := a.Workloads[name]
	if !known {
		return Workload{}, fmt.Errorf("workload %q: %w", name, rpc.ErrNotFound)
	}
	return w, nil
}

func short(field, value string) error {
	if len(value) > maxNote {
		return &rpc.FieldError{Field: field, Problem: fmt.Sprintf("has %d bytes, more than %d", len(value), maxNote)}
	}
	return nil
}

// GetProvisioningStatus implements the service.
func (a *API) GetProvisioningStatus(ctx context.Context, req *foreshadowv1.GetProvisioningStatusRequest) (*foreshadowv1.GetProvisioningStatusResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	st, err := a.status(ctx, w)
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.GetProvisioningStatusResponse{Status: st}, nil
}

// PauseProvisioning implements the service. When it has answered nothing is changed any more, also after a restart; a change
// that the platform had accepted before is still verified.
func (a *API) PauseProvisioning(ctx context.Context, req *foreshadowv1.PauseProvisioningRequest) (*foreshadowv1.PauseProvisioningResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err == nil {
		err = short("reason", req.GetReason())
	}
	if err == nil {
		err = short("actor", req.GetActor())
	}
	if err != nil {
		return nil, err
	}
	pause := journal.Pause{Reason: req.GetReason(), Actor: req.GetActor(), Time: a.Now()}
	if err := a.Journal.SetPause(w.Declared.Name, pause); err != nil {
		return nil, err
	}
	w.Production.Barrier()
	w.Shadow.Barrier()
	return &foreshadowv1.PauseProvisioningResponse{Status: a.known(ctx, w)}, nil
}

// ResumeProvisioning implements the service.
func (a *API) ResumeProvisioning(ctx context.Context, req *foreshadowv1.ResumeProvisioningRequest) (*foreshadowv1.ResumeProvisioningResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	if err := a.Journal.Resume(w.Declared.Name); err != nil {
		return nil, err
	}
	return &foreshadowv1.ResumeProvisioningResponse{Status: a.known(ctx, w)}, nil
}

// ApproveRecommendation implements the service.
func (a *API) ApproveRecommendation(ctx context.Context, req *foreshadowv1.ApproveRecommendationRequest) (*foreshadowv1.ApproveRecommendationResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	if req.GetRecommendationId() == "" {
		return nil, &rpc.FieldError{Field: "recommendation_id", Problem: "is required"}
	}
	if req.GetActor() == "" {
		return nil, &rpc.FieldError{Field: "actor", Problem: "is required: an approval is somebody's"}
	}
	if err := short("actor", req.GetActor()); err != nil {
		return nil, err
	}
	if err := w.Production.Approve(req.GetRecommendationId(), req.GetActor()); err != nil {
		return nil, err
	}
	return &foreshadowv1.ApproveRecommendationResponse{Status: a.known(ctx, w)}, nil
}

// ListActions implements the service. History answers when it can, and memory, which begins with this process, else.
func (a *API) ListActions(ctx context.Context, req *foreshadowv1.ListActionsRequest) (*foreshadowv1.ListActionsResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	switch {
	case size < 0 || size > maxPage:
		return nil, &rpc.FieldError{Field: "page_size", Problem: fmt.Sprintf("want 0 to %d, got %d", maxPage, size)}
	case size == 0:
		size = defaultPage
	}
	token := req.GetPageToken()
	if a.History != nil && !strings.HasPrefix(token, memoryToken) {
		resp, err := a.History.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{
			Workload: w.Declared.Name, PageSize: int32(size), PageToken: token, // #nosec G115: at most maxPage
		})
		if err == nil {
			return &foreshadowv1.ListActionsResponse{Actions: resp.GetActions(), NextPageToken: resp.GetNextPageToken()}, nil
		}
		if token != "" {
			return nil, err // a page in the middle cannot come from elsewhere
		}
	}
	return page(a.Memory.Newest(w.Declared.Name), token, size)
}

// page cuts a page out of actions, newest first. Its token counts from the oldest end, which stays while newer ones come.
func page(actions []*foreshadowv1.ScalingApplied, token string, size int) (*foreshadowv1.ListActionsResponse, error) {
	left := len(actions)
	if token != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(token, memoryToken))
		if err != nil || n < 0 {
			return nil, &rpc.FieldError{Field: "page_token", Problem: "is not one that was given out"}
		}
		left = min(n, left)
	}
	start := len(actions) - left
	end := min(start+size, len(actions))
	resp := &foreshadowv1.ListActionsResponse{Actions: actions[start:end]}
	if end < len(actions) {
		resp.NextPageToken = memoryToken + strconv.Itoa(len(actions)-end)
	}
	return resp, nil
}

// known is the status as far as it is known: that the platform is away does not undo what was asked for.
func (a *API) known(ctx context.Context, w Workload) *foreshadowv1.ProvisioningStatus {
	st, _ := a.status(ctx, w)
	return st
}

func (a *API) status(ctx context.Context, w Workload) (*foreshadowv1.ProvisioningStatus, error) {
	st := &foreshadowv1.ProvisioningStatus{
		Workload: w.Declared.Name, Mode: modeOf(w.Declared.Guardrails.Mode), ObservedGeneration: w.Production.Generation(),
	}
	if p, paused := a.Journal.Pause(w.Declared.Name); paused {
		st.Paused, st.PauseReason, st.PauseActor, st.PauseTime = true, p.Reason, p.Actor, timestamppb.New(p.Time)
	}
	if id := w.Production.Awaiting(); id != "" {
		st.AwaitingRecommendationIds = []string{id}
	}
	production, err := a.States.State(ctx, w.Production.Group())
	if err != nil {
		return st, fmt.Errorf("read production: %w: %w", rpc.ErrUnavailable, err)
	}
	st.Production, st.ProductionReadyInstances = size(production)
	shadow, err := a.States.State(ctx, w.Shadow.Group())
	if err != nil {
		return st, fmt.Errorf("read shadow: %w: %w", rpc.ErrUnavailable, err)
	}
	st.Shadow, st.ShadowReadyInstances = size(shadow)
	return st, nil
}

func size(s platform.State) (*foreshadowv1.Sizing, int32) {
	return &foreshadowv1.Sizing{Instances: int32(s.Desired)}, int32(s.Ready()) // #nosec G115: platforms bound it far lower
}

func modeOf(m workload.Mode) foreshadowv1.Mode {
	switch m {
	case workload.DryRun:
		return foreshadowv1.Mode_MODE_DRY_RUN
	case workload.Approve:
		return foreshadowv1.Mode_MODE_APPROVE
	case workload.Automatic:
		return foreshadowv1.Mode_MODE_AUTOMATIC
	default:
		return foreshadowv1.Mode_MODE_UNSPECIFIED
	}
}
