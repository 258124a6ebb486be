// Package rpc makes gRPC servers and clients the way all services run them: health and reflection on every server, limits
// on message size and streams, deadlines, and one place that maps errors to status codes.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

const (
	// MaxMessageBytes bounds a message in both directions.
	MaxMessageBytes = 16 << 20
	maxStreams      = 1000
	drainTimeout    = 5 * time.Second
	defaultDeadline = 30 * time.Second
)

// Server is a gRPC server with health and reflection.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// NewServer returns a server; register services on it before Serve. Panics of a handler become INTERNAL and are logged.
func NewServer(log *slog.Logger) *Server {
	s := &Server{health: health.NewServer()}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes), grpc.MaxConcurrentStreams(maxStreams),
		// A client that pings more often than every 10 s is cut off; KEDA's and our own clients ping every 30 s.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(unary(log)), grpc.ChainStreamInterceptor(stream(log)),
	)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	return s
}

// RegisterService implements grpc.ServiceRegistrar; the service is reported as serving.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
	s.health.SetServingStatus(desc.ServiceName, healthv1.HealthCheckResponse_SERVING)
}

// SetServing changes the health of one registered service; the empty name is the whole server.
func (s *Server) SetServing(service string, serving bool) {
	st := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, st)
}

// Serve answers on the listener until ctx ends, then drains; it returns nil on a clean stop.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	reflection.Register(s.grpc)
	done := make(chan error, 1)
	go func() { done <- s.grpc.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve grpc on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.health.Shutdown()
	// Watches are held open by design, so a graceful stop alone would never end.
	hard := time.AfterFunc(drainTimeout, s.grpc.Stop)
	defer hard.Stop()
	s.grpc.GracefulStop()
	return <-done
}

// Listen opens the listener of a server and names the address when it cannot.
func Listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for grpc: %w", err)
	}
	return ln, nil
}

// Dial returns a client connection; it connects when first used and by itself again after a loss. Calls without a
// deadline get one of 30 s.
func Dial(address string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// gRPC's own backoff grows to 2 minutes; a service that is back is wanted within a second.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithChainUnaryInterceptor(deadline),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return conn, nil
}

func deadline(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
		defer cancel()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func unary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer func() { err = settle(log, info.FullMethod, recover(), err) }()
		return next(ctx, req)
	}
}

func stream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer func() { err = settle(log, info.FullMethod, recover(), err) }()
		return next(srv, ss)
	}
}

func settle(log *slog.Logger, method string, panicked any, err error) error {
	if panicked != nil {
		log.Error("rpc handler panicked", "method", method, "err", panicked, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	}
	return Status(err)
}

// FieldError is a fault in one field of a request; it maps to INVALID_ARGUMENT.
type FieldError struct {
	// Field is the name as in the .proto file.
	Field string
	// Problem says what is wrong with it.
	Problem string
}

// Error names the field.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Kinds of error that handlers wrap, each with its gRPC code.
var (
	// ErrNotFound maps to NOT_FOUND.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable maps to UNAVAILABLE: try again later.
	ErrUnavailable = errors.New("unavailable")
	// ErrPrecondition maps to FAILED_PRECONDITION.
	ErrPrecondition = errors.New("precondition failed")
	// ErrExhausted maps to RESOURCE_EXHAUSTED.
	ErrExhausted = errors.New("exhausted")
)

// Status maps an error to its gRPC status; errors that carry one already are kept.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	var field *FieldError
	code := codes.Internal
	switch {
	case errors.As(err, &field):
		code = codes.InvalidArgument
	case errors.Is(err, ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, ErrUnavailable):
		code = codes.Unavailable
	case errors.Is(err, ErrPrecondition):
		code = codes.FailedPrecondition
	case errors.Is(err, ErrExhausted):
		code = codes.ResourceExhausted
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}
