package rpc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestPageTokensBelongToTheirRequest(t *testing.T) {
	t.Parallel()
	shop := &foreshadowv1.ListActionsRequest{Workload: "shop"}
	token := rpc.PageToken(shop, "position 7")
	if strings.Contains(token, "position") {
		t.Errorf("token %q is not opaque", token)
	}
	if got, err := rpc.PagePosition(shop, token); err != nil || got != "position 7" {
		t.Errorf("position %q, %v", got, err)
	}
	if got, err := rpc.PagePosition(shop, ""); err != nil || got != "" {
		t.Errorf("the first page begins at %q, %v", got, err)
	}
	for name, c := range map[string]struct {
		request *foreshadowv1.ListActionsRequest
		token   string
	}{
		"another workload": {&foreshadowv1.ListActionsRequest{Workload: "bank"}, token},
		"no base64":        {shop, "!"},
		"no JSON":          {shop, "aGVsbG8"},
		"no position":      {shop, rpc.PageToken(shop, "")},
		"huge":             {shop, strings.Repeat("A", 1<<20)},
	} {
		var field *rpc.FieldError
		if _, err := rpc.PagePosition(c.request, c.token); !errors.As(err, &field) || field.Field != "page_token" {
			t.Errorf("%s: %v, want page_token named", name, err)
		}
	}
}

func TestPageSize(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int32]int{0: 100, 1: 1, 1000: 1000, 1 << 30: 1000} {
		if got, err := rpc.PageSize(asked, 100, 1000); err != nil || got != want {
			t.Errorf("asked %d: %d, %v, want %d", asked, got, err, want)
		}
	}
	if _, err := rpc.PageSize(-1, 100, 1000); err == nil {
		t.Error("a negative page is no page")
	}
}

// FuzzPagePosition: a token from outside is the position that was put into it, or an error that names the field.
func FuzzPagePosition(f *testing.F) {
	request := &foreshadowv1.ListActionsRequest{Workload: "shop"}
	for _, seed := range []string{"", "x", "e30", rpc.PageToken(request, "7"), rpc.PageToken(request, "\xff")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		position, err := rpc.PagePosition(request, token)
		var field *rpc.FieldError
		switch {
		case err != nil && (!errors.As(err, &field) || position != ""):
			t.Errorf("%q: %q, %v", token, position, err)
		case err == nil && (position == "") != (token == ""):
			t.Errorf("%q: position %q", token, position)
		}
	})
}
