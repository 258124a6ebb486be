package gateway

import (
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/services/console/internal/live"
)

// apiError is what a client is told.
type apiError struct {
	// Code is the gRPC status code, for example UNAVAILABLE.
	Code string `json:"code"`
	// Message is one sentence.
	Message string `json:"message"`
	// Backend is the service that said so; empty when it was the gateway itself.
	Backend string `json:"backend,omitempty"`
}

var httpStatus = map[codes.Code]int{
	codes.InvalidArgument: http.StatusBadRequest, codes.OutOfRange: http.StatusBadRequest,
	codes.Unauthenticated: http.StatusUnauthorized, codes.PermissionDenied: http.StatusForbidden,
	codes.NotFound: http.StatusNotFound, codes.AlreadyExists: http.StatusConflict, codes.Aborted: http.StatusConflict,
	codes.FailedPrecondition: http.StatusConflict, codes.ResourceExhausted: http.StatusTooManyRequests,
	codes.Unimplemented: http.StatusNotImplemented, codes.Unavailable: http.StatusServiceUnavailable,
	codes.DeadlineExceeded: http.StatusGatewayTimeout, codes.Canceled: http.StatusServiceUnavailable,
}

// fail answers with the error of a backend, or with a FieldError of the gateway itself.
func (g *gateway) fail(w http.ResponseWriter, backend string, err error) {
	var field *rpc.FieldError
	if errors.As(err, &field) {
		backend = ""
	}
	s := status.Convert(rpc.Status(err))
	code, known := httpStatus[s.Code()]
	if !known {
		code = http.StatusBadGateway
		g.Log.Warn("backend answered with an error", "backend", backend, "err", err)
	}
	writeError(w, code, apiError{Code: live.CodeName(s.Code()), Message: s.Message(), Backend: backend})
}

func writeError(w http.ResponseWriter, code int, e apiError) {
	// Three strings always encode.
	body, _ := json.Marshal(map[string]apiError{"error": e})
	writeBody(w, code, body)
}

func writeBody(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// A client that went away is no error of ours.
	_, _ = w.Write(append(body, '\n'))
}
