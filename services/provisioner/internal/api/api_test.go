package api

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// remembered has n actions, the newest with the highest number.
type remembered int

func (n remembered) Newest(string) []*foreshadowv1.ScalingApplied {
	out := make([]*foreshadowv1.ScalingApplied, n)
	for i := range out {
		out[i] = &foreshadowv1.ScalingApplied{ActionId: fmt.Sprint(int(n) - i)}
	}
	return out
}

type history struct{ err error }

func (h history) QueryScalingActions(_ context.Context, in *foreshadowv1.QueryScalingActionsRequest, _ ...grpc.CallOption) (*foreshadowv1.QueryScalingActionsResponse, error) {
	if h.err != nil {
		return nil, h.err
	}
	return &foreshadowv1.QueryScalingActionsResponse{
		Actions: []*foreshadowv1.ScalingApplied{{ActionId: fmt.Sprintf("%s %d %s", in.GetWorkload(), in.GetPageSize(), in.GetPageToken())}}, NextPageToken: "more",
	}, nil
}

func list(t *testing.T, a *API, token string, size int32) (ids []string, next string) {
	t.Helper()
	a.Workloads = map[string]Workload{"shop": {Declared: workload.Workload{Name: "shop"}}}
	resp, err := a.ListActions(t.Context(), &foreshadowv1.ListActionsRequest{Workload: "shop", PageSize: size, PageToken: token})
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range resp.GetActions() {
		ids = append(ids, action.GetActionId())
	}
	return ids, resp.GetNextPageToken()
}

func TestPagesFromMemoryStandStillWhileActionsCome(t *testing.T) {
	t.Parallel()
	first, next := list(t, &API{Memory: remembered(5)}, "", 2)
	second, next := list(t, &API{Memory: remembered(8)}, next, 2)
	third, next := list(t, &API{Memory: remembered(9)}, next, 2)
	if got := fmt.Sprint(first, second, third); got != "[5 4] [3 2] [1]" || next != "" {
		t.Errorf("pages %s, then %q", got, next)
	}
}

func TestHistoryAnswersWhileItCan(t *testing.T) {
	t.Parallel()
	ids, next := list(t, &API{Memory: remembered(2), History: history{}}, "", 7)
	if fmt.Sprint(ids) != "[shop 7 ]" || next == "" {
		t.Errorf("listed %v, then %q", ids, next)
	}
	middle := next
	if ids, _ := list(t, &API{Memory: remembered(2), History: history{}}, middle, 7); fmt.Sprint(ids) != "[shop 7 more]" {
		t.Errorf("the next page of history is %v", ids)
	}
	away := &API{Memory: remembered(2), History: history{status.Error(codes.Unavailable, "database is away")}}
	ids, next = list(t, away, "", 1)
	if fmt.Sprint(ids) != "[2]" {
		t.Errorf("listed %v without history, want the newest from memory", ids)
	}
	// The next page stays with memory, also when history is back.
	away.History = history{}
	if ids, _ := list(t, away, next, 1); fmt.Sprint(ids) != "[1]" {
		t.Errorf("the next page is %v", ids)
	}
	// A page in the middle of history cannot be answered from memory.
	away.History = history{errors.New("database is away")}
	if _, err := away.ListActions(t.Context(), &foreshadowv1.ListActionsRequest{Workload: "shop", PageToken: middle}); err == nil {
		t.Error("answered a page of history from memory")
	}
	for _, token := range []string{"more", "memory:1", rpc.PageToken(&foreshadowv1.ListActionsRequest{Workload: "bank"}, "memory:1"), rpc.PageToken(&foreshadowv1.ListActionsRequest{Workload: "shop"}, "memory:x")} {
		var field *rpc.FieldError
		_, err := away.ListActions(t.Context(), &foreshadowv1.ListActionsRequest{Workload: "shop", PageToken: token})
		if !errors.As(err, &field) || field.Field != "page_token" {
			t.Errorf("token %q: %v, want page_token named", token, err)
		}
	}
}
