// Package api serves ProvisioningService.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// maxNote bounds what a person may say about a pause.
const maxNote = 1000

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
	if err := errors.Join(err, short("reason", req.GetReason()), short("actor", req.GetActor())); err != nil {
		return nil, err
	}
	err = a.Journal.Once(req, func() error {
		pause := journal.Pause{Reason: req.GetReason(), Actor: cmp.Or(req.GetActor(), rpc.CallerName(ctx)), Time: a.Now()}
		return a.Journal.SetPause(w.Declared.Name, pause)
	})
	if err != nil {
		return nil, err
	}
	w.Production.Barrier()
	w.Shadow.Barrier()
	return &foreshadowv1.PauseProvisioningResponse{Status: a.known(ctx, w)}, nil
}

// ResumeProvisioning implements the service.
func (a *API) ResumeProvisioning(ctx context.Context, req *foreshadowv1.ResumeProvisioningRequest) (*foreshadowv1.ResumeProvisioningResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err := errors.Join(err, short("actor", req.GetActor())); err != nil {
		return nil, err
	}
	if err := a.Journal.Once(req, func() error { return a.Journal.Resume(w.Declared.Name) }); err != nil {
		return nil, err
	}
	return &foreshadowv1.ResumeProvisioningResponse{Status: a.known(ctx, w)}, nil
}

// ApproveRecommendation implements the service.
func (a *API) ApproveRecommendation(ctx context.Context, req *foreshadowv1.ApproveRecommendationRequest) (*foreshadowv1.ApproveRecommendationResponse, error) {
	w, err := a.workload(req.GetWorkload())
	actor := cmp.Or(req.GetActor(), rpc.CallerName(ctx))
	errs := []error{err, short("actor", actor)}
	if req.GetRecommendationId() == "" {
		errs = append(errs, &rpc.FieldError{Field: "recommendation_id", Problem: "is required"})
	}
	if actor == "" {
		errs = append(errs, &rpc.FieldError{Field: "actor", Problem: "is required: an approval is somebody's"})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	err = a.Journal.Once(req, func() error { return w.Production.Approve(req.GetRecommendationId(), actor) })
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.ApproveRecommendationResponse{Status: a.known(ctx, w)}, nil
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
