package api

import (
	"context"
	"strconv"
	"strings"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// fromMemory and fromHistory begin the position of a page, which stays with the source of the page before.
	fromMemory  = "memory:"
	fromHistory = "history:"
)

// ListActions implements the service. History answers when it can, and memory, which begins with this process, else.
func (a *API) ListActions(ctx context.Context, req *foreshadowv1.ListActionsRequest) (*foreshadowv1.ListActionsResponse, error) {
	w, err := a.workload(req.GetWorkload())
	if err != nil {
		return nil, err
	}
	size, err := rpc.PageSize(req.GetPageSize(), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	asked := &foreshadowv1.ListActionsRequest{Workload: req.GetWorkload()}
	position, err := rpc.PagePosition(asked, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp, next := (*foreshadowv1.ListActionsResponse)(nil), ""
	if a.History != nil && !strings.HasPrefix(position, fromMemory) {
		resp, next, err = a.past(ctx, w.Declared.Name, strings.TrimPrefix(position, fromHistory), size)
		if err != nil && position != "" {
			return nil, err // a page in the middle cannot come from elsewhere
		}
	}
	if resp == nil {
		if resp, next, err = page(a.Memory.Newest(w.Declared.Name), strings.TrimPrefix(position, fromMemory), size); err != nil {
			return nil, err
		}
	}
	if next != "" {
		resp.NextPageToken = rpc.PageToken(asked, next)
	}
	return resp, nil
}

// past is a page of history, and where the next one begins.
func (a *API) past(ctx context.Context, workload, token string, size int) (*foreshadowv1.ListActionsResponse, string, error) {
	resp, err := a.History.QueryScalingActions(ctx, &foreshadowv1.QueryScalingActionsRequest{
		Workload: workload, PageSize: int32(size), PageToken: token, // #nosec G115: at most maxPage
	})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if resp.GetNextPageToken() != "" {
		next = fromHistory + resp.GetNextPageToken()
	}
	return &foreshadowv1.ListActionsResponse{Actions: resp.GetActions()}, next, nil
}

// page cuts a page out of actions, newest first. Its position counts from the oldest end, which stays while newer ones come.
func page(actions []*foreshadowv1.ScalingApplied, position string, size int) (*foreshadowv1.ListActionsResponse, string, error) {
	left := len(actions)
	if position != "" {
		n, err := strconv.Atoi(position)
		if err != nil || n < 0 {
			return nil, "", &rpc.FieldError{Field: "page_token", Problem: "is not one that was handed out"}
		}
		left = min(n, left)
	}
	start := len(actions) - left
	end := min(start+size, len(actions))
	next := ""
	if end < len(actions) {
		next = fromMemory + strconv.Itoa(len(actions)-end)
	}
	return &foreshadowv1.ListActionsResponse{Actions: actions[start:end]}, next, nil
}
