package rpc

import (
	"context"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() { err = s.settle(info.FullMethod, recover(), err) }()
	if c := callOf(ctx); c != nil && c.refused != nil {
		return nil, c.refused
	}
	return next(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() { err = s.settle(info.FullMethod, recover(), err) }()
	c := callOf(ss.Context())
	if c == nil || c.stall == nil {
		return next(srv, ss)
	}
	defer c.stall.Stop()
	if c.refused != nil {
		return c.refused
	}
	return next(srv, &patient{ServerStream: ss, call: c, stall: s.edge.cfg.Limits.Stall})
}

// settle turns what a handler left behind into a status.
func (s *Server) settle(method string, panicked any, err error) error {
	if panicked != nil {
		s.log.Error("rpc handler panicked", "method", method, "err", panicked, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	}
	return Status(err)
}

// patient is a stream that waits for its peer for a while and no longer: for the first message, and for each of ours to be
// accepted. Between those it may be silent for as long as it likes.
type patient struct {
	grpc.ServerStream
	call  *call
	stall time.Duration
}

// RecvMsg implements grpc.ServerStream. The first message is what the timer was started for.
func (p *patient) RecvMsg(m any) error {
	err := p.ServerStream.RecvMsg(m)
	if !p.call.sending.Load() {
		p.call.stall.Stop()
	}
	return err
}

// SendMsg implements grpc.ServerStream. It waits only when the peer has not taken what was sent before.
func (p *patient) SendMsg(m any) error {
	p.call.sending.Store(true)
	p.call.stall.Reset(p.stall)
	defer p.call.stall.Stop()
	return p.ServerStream.SendMsg(m)
}
