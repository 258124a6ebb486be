package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

func TestErrorsCarryDetails(t *testing.T) {
	t.Parallel()
	info := func(reason string) *errdetails.ErrorInfo {
		return &errdetails.ErrorInfo{Reason: reason, Domain: "foreshadow.dev"}
	}
	bad := func(fields ...string) *errdetails.BadRequest {
		b := &errdetails.BadRequest{}
		for _, f := range fields {
			b.FieldViolations = append(b.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f, Description: "is wrong"})
		}
		return b
	}
	field := func(name string) error { return &rpc.FieldError{Field: name, Problem: "is wrong"} }
	for name, c := range map[string]struct {
		err     error
		code    codes.Code
		details []any
	}{
		"field":        {fmt.Errorf("a: %w", field("x")), codes.InvalidArgument, []any{info("INVALID_FIELD"), bad("x")}},
		"fields":       {errors.Join(field("x"), fmt.Errorf("a: %w", field("y"))), codes.InvalidArgument, []any{info("INVALID_FIELD"), bad("x", "y")}},
		"not found":    {fmt.Errorf("a: %w", rpc.ErrNotFound), codes.NotFound, []any{info("NOT_FOUND")}},
		"unavailable":  {fmt.Errorf("a: %w", rpc.ErrUnavailable), codes.Unavailable, []any{info("UNAVAILABLE"), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}}},
		"precondition": {fmt.Errorf("a: %w", rpc.ErrPrecondition), codes.FailedPrecondition, []any{info("PRECONDITION_FAILED")}},
		"exhausted":    {fmt.Errorf("a: %w", rpc.ErrExhausted), codes.ResourceExhausted, []any{info("EXHAUSTED")}},
		"quota": {&rpc.QuotaError{Reason: "RATE_LIMITED", Subject: "s", Problem: "p", RetryAfter: time.Minute}, codes.ResourceExhausted, []any{
			info("RATE_LIMITED"), &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "s", Description: "p"}}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)},
		}},
		"who":       {rpc.ErrUnauthenticated, codes.Unauthenticated, []any{info("UNAUTHENTICATED")}},
		"may not":   {rpc.ErrPermission, codes.PermissionDenied, []any{info("NOT_ALLOWED")}},
		"cancelled": {fmt.Errorf("a: %w", context.Canceled), codes.Canceled, []any{info("CANCELLED")}},
		"too late":  {context.DeadlineExceeded, codes.DeadlineExceeded, []any{info("DEADLINE_EXCEEDED")}},
		"else":      {errors.New("boom"), codes.Internal, []any{info("INTERNAL")}},
		"a status":  {fmt.Errorf("a: %w", status.Error(codes.Aborted, "x")), codes.Aborted, []any{}},
	} {
		got := status.Convert(rpc.Status(c.err))
		if got.Code() != c.code || got.Message() == "" {
			t.Errorf("%s: %v %q, want %v", name, got.Code(), got.Message(), c.code)
		}
		if diff := cmp.Diff(c.details, append([]any{}, got.Details()...), protocmp.Transform()); diff != "" {
			t.Errorf("%s: details (-want +got):\n%s", name, diff)
		}
	}
	early := fmt.Errorf("there is no history: %w", rpc.ErrPrecondition)
	if got := status.Convert(rpc.Status(early)).Message(); got != "there is no history" {
		t.Errorf("said %q, want the sentence without its code", got)
	}
	if rpc.Status(nil) != nil {
		t.Error("no error has a status")
	}
}
