package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

const (
	drainTimeout = 5 * time.Second
	// headerBytes bounds the headers of a call.
	headerBytes = 16 << 10
	// A client that pings more often than minPing is cut off; KEDA's and our own ping every 30 s or not at all.
	minPing = 10 * time.Second
	// A peer that is silent for alive is pinged, and gone when it does not answer within pong.
	alive = 30 * time.Second
	pong  = 10 * time.Second
)

// Server is a gRPC server with health and reflection.
type Server struct {
	edge     *Edge
	log      *slog.Logger
	grpc     *grpc.Server
	health   *health.Server
	accounts *accounts
	// streams are the methods that are held open, by full name.
	streams map[string]bool
	// hangUp closes the connection of a peer.
	hangUp func(address string)
}

// NewServer returns a server; register services on it before Serve. Panics of a handler become INTERNAL and are logged.
func (e *Edge) NewServer(log *slog.Logger) *Server {
	e = e.orPlain()
	l := e.cfg.Limits
	s := &Server{edge: e, log: log, health: health.NewServer(), accounts: newAccounts(l), streams: map[string]bool{}}
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(l.RequestBytes), grpc.MaxSendMsgSize(MaxMessageBytes), grpc.MaxHeaderListSize(headerBytes),
		grpc.MaxConcurrentStreams(uint32(l.StreamsPerConnection)), // #nosec G115: validated
		grpc.ConnectionTimeout(l.Stall),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: l.Idle, Time: alive, Timeout: pong}),
		grpc.InTapHandle(s.admit), grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream),
	}
	if e.tracing != nil {
		opts = append(opts, grpc.StatsHandler(otelgrpc.NewServerHandler(e.traced()...)))
	}
	if e.cfg.TLS.serves() {
		opts = append(opts, grpc.Creds(&reloading{edge: e}))
	}
	s.grpc = grpc.NewServer(opts...)
	s.RegisterService(&healthv1.Health_ServiceDesc, s.health)
	return s
}

// RegisterService implements grpc.ServiceRegistrar; the service is reported as serving.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, stream := range desc.Streams {
		s.streams["/"+desc.ServiceName+"/"+stream.StreamName] = true
	}
	s.grpc.RegisterService(desc, impl)
	s.health.SetServingStatus(desc.ServiceName, healthv1.HealthCheckResponse_SERVING)
}

// GetServiceInfo implements reflection.GRPCServer.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return s.grpc.GetServiceInfo() }

// SetServing changes the health of one registered service; the empty name is the whole server.
func (s *Server) SetServing(service string, serving bool) {
	st := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, st)
}

// Serve answers on the listener until ctx ends, then drains; it returns nil on a clean stop. Connections beyond the limits
// are closed as they come.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	reflection.Register(s)
	connections := s.edge.bound(ln)
	s.hangUp = connections.hangUp
	done := make(chan error, 1)
	go func() { done <- s.grpc.Serve(connections) }()
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
	// Stopped before it began is a clean stop, too.
	if err := <-done; !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}
