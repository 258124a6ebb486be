package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/services/console/internal/live"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// backends by the gRPC service they serve.
func backend(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/foreshadow.v1."), "/")
	switch service {
	case "HistoryService":
		return upstream.History
	case "RecommendationService", "ForecastService":
		return upstream.Predictor
	case "ProvisioningService":
		return upstream.Provisioner
	case "ExperimentService":
		return upstream.ShadowRunner
	}
	return ""
}

// fail answers with the error of a backend, or with what is wrong with the request itself.
func (g *gateway) fail(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	s := status.Convert(err)
	method, _ := runtime.RPCMethod(ctx)
	code := runtime.HTTPStatusFromCode(s.Code())
	if code == http.StatusInternalServerError {
		g.Log.Warn("backend answered with an error", "backend", backend(method), "err", err)
	}
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeStatus(w, code, from(backend(method), s))
}

// from names the backend in the ErrorInfo of a status. What has no details and is an invalid argument was found here.
func from(backend string, s *status.Status) *status.Status {
	details := s.Details()
	if s.Code() == codes.InvalidArgument && len(details) == 0 || backend == "" {
		return s
	}
	info := &errdetails.ErrorInfo{Reason: live.CodeName(s.Code()), Domain: rpc.Domain}
	kept := []protoadapt.MessageV1{}
	for _, d := range details {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info.Reason, info.Domain, info.Metadata = d.GetReason(), d.GetDomain(), d.GetMetadata()
		case protoadapt.MessageV1:
			kept = append(kept, d)
		}
	}
	if info.Metadata == nil {
		info.Metadata = map[string]string{}
	}
	info.Metadata["backend"] = backend
	named, err := status.New(s.Code(), s.Message()).WithDetails(append([]protoadapt.MessageV1{info}, kept...)...)
	if err != nil {
		return s
	}
	return named
}

// misrouted answers to a path or a method that is none of ours.
func misrouted(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	grpcCode := codes.NotFound
	if code == http.StatusMethodNotAllowed {
		grpcCode = codes.Unimplemented
	}
	writeStatus(w, code, status.New(grpcCode, "there is no "+r.Method+" "+r.URL.Path))
}

func writeStatus(w http.ResponseWriter, code int, s *status.Status) {
	body, err := live.JSON.Marshal(s.Proto())
	if err != nil {
		body = []byte(`{"code":13,"message":"internal error","details":[]}`) // details of a kind that is not known here
	}
	writeBody(w, code, body)
}
