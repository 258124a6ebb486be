package gateway

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	rest "github.com/foreshadow/foreshadow/proto/gateway/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/live"
)

const maxBodyBytes = 16 << 10

// rest makes the generated handlers. Of the headers of a request only Authorization reaches a backend: the default would
// let a client choose any gRPC metadata.
func (g *gateway) rest() (http.Handler, error) {
	beStrict()
	mux := runtime.NewServeMux(
		// A key that the .proto does not know is an error, as it is in the configuration file.
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{MarshalOptions: live.JSON, UnmarshalOptions: protojson.UnmarshalOptions{}}),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithErrorHandler(g.fail), runtime.WithRoutingErrorHandler(misrouted),
		// A form of a foreign page must not reach what a GET reaches.
		runtime.WithDisablePathLengthFallback(),
	)
	c := g.Clients
	// The clients outlive the handlers; the context serves connections that the generated code makes itself, which are none.
	ctx := context.Background()
	for _, err := range []error{
		rest.RegisterHistoryServiceHandlerClient(ctx, mux, c.History),
		rest.RegisterRecommendationServiceHandlerClient(ctx, mux, c.Recommendations),
		rest.RegisterForecastServiceHandlerClient(ctx, mux, c.Forecasts),
		rest.RegisterProvisioningServiceHandlerClient(ctx, mux, c.Provisioning),
		rest.RegisterExperimentServiceHandlerClient(ctx, mux, c.Experiments),
	} {
		if err != nil {
			return nil, fmt.Errorf("register json handlers: %w", err)
		}
	}
	return mux, nil
}

// beStrict sets the parser of queries, of which the library has one for the process.
var beStrict = sync.OnceFunc(func() { runtime.NewServeMux(runtime.SetQueryParameterParser(&strict{})) })

// strict reads the query of a request, in which, too, a key that the .proto does not know is an error.
type strict struct{ runtime.DefaultQueryParser }

// Parse implements runtime.QueryParameterParser.
func (s *strict) Parse(m proto.Message, query url.Values, filter *utilities.DoubleArray) error {
	for key := range query {
		name, _, _ := strings.Cut(key, ".")
		if fields := m.ProtoReflect().Descriptor().Fields(); fields.ByName(protoreflect.Name(name)) == nil && fields.ByJSONName(name) == nil {
			return fmt.Errorf("unknown parameter %q", key)
		}
	}
	return s.DefaultQueryParser.Parse(m, query, filter)
}

// api guards the handlers. A state-changing request must come from our origin or from no browser, and be JSON: a form or an
// image of a foreign page can send neither. Bodies are bounded in size and time, and so is each write of an answer.
func (g *gateway) api(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if err := g.origin.Check(r); err != nil {
				writeStatus(w, http.StatusForbidden, status.New(codes.PermissionDenied, "the request came from another origin"))
				return
			}
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				writeStatus(w, http.StatusUnsupportedMediaType, status.New(codes.InvalidArgument, "Content-Type: want application/json"))
				return
			}
		}
		// The server has no read timeout because streams stay open; a body that trickles in must still end. Where there is
		// none the server reads on already, to learn that the caller has left: a deadline would pass for that, and end a watch.
		if r.Body != http.NoBody {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.ReadTimeout)); err != nil {
				writeStatus(w, http.StatusInternalServerError, status.New(codes.Internal, err.Error()))
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		}
		next.ServeHTTP(&patient{ResponseWriter: w, timeout: g.WriteTimeout}, r)
	})
}

// patient waits for its reader for a while with each write, so that one who does not read holds no stream for ever.
type patient struct {
	http.ResponseWriter
	timeout time.Duration
}

// Write implements http.ResponseWriter.
func (p *patient) Write(b []byte) (int, error) {
	if err := http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (p *patient) Flush() { _ = http.NewResponseController(p.ResponseWriter).Flush() } // the next write finds out

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
