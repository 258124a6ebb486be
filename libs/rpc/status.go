package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is that of every google.rpc.ErrorInfo.
const Domain = "foreshadow.dev"

// retryAfter is what a caller is told to wait when something is away.
const retryAfter = time.Second

// FieldError is a fault in one field of a request; it maps to INVALID_ARGUMENT with google.rpc.BadRequest. Several may be
// joined.
type FieldError struct {
	// Field is the name as in the .proto file.
	Field string
	// Problem says what is wrong with it.
	Problem string
}

// Error names the field.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// QuotaError is a bound that was reached; it maps to RESOURCE_EXHAUSTED with google.rpc.QuotaFailure.
type QuotaError struct {
	// Reason is the ErrorInfo's, such as RATE_LIMITED.
	Reason string
	// Subject is what is bounded, for whom.
	Subject string
	// Problem says what happened.
	Problem string
	// RetryAfter is when to try again; 0 when nobody knows.
	RetryAfter time.Duration
}

// Error says what happened.
func (e *QuotaError) Error() string { return e.Problem }

// Kinds of error that handlers wrap, each with its gRPC code and the reason in its google.rpc.ErrorInfo.
var (
	// ErrNotFound maps to NOT_FOUND.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable maps to UNAVAILABLE with google.rpc.RetryInfo: try again later.
	ErrUnavailable = errors.New("unavailable")
	// ErrPrecondition maps to FAILED_PRECONDITION.
	ErrPrecondition = errors.New("precondition failed")
	// ErrExhausted maps to RESOURCE_EXHAUSTED.
	ErrExhausted = errors.New("exhausted")
	// ErrUnauthenticated maps to UNAUTHENTICATED.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrPermission maps to PERMISSION_DENIED.
	ErrPermission = errors.New("not allowed")
)

// Status maps an error to its gRPC status with details; errors that carry one already are kept.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code, reason, details := classify(err)
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	// The code says it already, and what is before it is a whole sentence, which people read.
	message := strings.TrimSuffix(err.Error(), ": "+ErrPrecondition.Error())
	st, detailErr := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if detailErr != nil {
		return status.Error(code, message) // the details are plain messages: this cannot be
	}
	return st.Err()
}

func classify(err error) (codes.Code, string, []protoadapt.MessageV1) {
	var quota *QuotaError
	if fields := fieldsOf(err); len(fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Field, Description: f.Problem})
		}
		return codes.InvalidArgument, "INVALID_FIELD", []protoadapt.MessageV1{bad}
	}
	switch {
	case errors.As(err, &quota):
		details := []protoadapt.MessageV1{&errdetails.QuotaFailure{
			Violations: []*errdetails.QuotaFailure_Violation{{Subject: quota.Subject, Description: quota.Problem}},
		}}
		if quota.RetryAfter > 0 {
			details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(quota.RetryAfter)})
		}
		return codes.ResourceExhausted, quota.Reason, details
	case errors.Is(err, ErrNotFound):
		return codes.NotFound, "NOT_FOUND", nil
	case errors.Is(err, ErrUnavailable):
		return codes.Unavailable, "UNAVAILABLE", []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}}
	case errors.Is(err, ErrPrecondition):
		return codes.FailedPrecondition, "PRECONDITION_FAILED", nil
	case errors.Is(err, ErrExhausted):
		return codes.ResourceExhausted, "EXHAUSTED", nil
	case errors.Is(err, ErrUnauthenticated):
		return codes.Unauthenticated, "UNAUTHENTICATED", nil
	case errors.Is(err, ErrPermission):
		return codes.PermissionDenied, "NOT_ALLOWED", nil
	case errors.Is(err, context.Canceled):
		return codes.Canceled, "CANCELLED", nil
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded, "DEADLINE_EXCEEDED", nil
	}
	return codes.Internal, "INTERNAL", nil
}

// fieldsOf collects the field errors in a tree of errors.
func fieldsOf(err error) []*FieldError {
	//nolint:errorlint // the tree is walked here
	switch e := err.(type) {
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() error }:
		return fieldsOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		var out []*FieldError
		for _, inner := range e.Unwrap() {
			out = append(out, fieldsOf(inner)...)
		}
		return out
	}
	return nil
}
