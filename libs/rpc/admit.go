package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

// call is what is known of a call from its headers on.
type call struct {
	who identity
	// refused is why it must not reach its handler; see admit.
	refused error
	// stall ends a stream whose peer keeps it waiting; nil for other calls.
	stall *time.Timer
	// stalled says that it did; sending, that the peer was to accept a message.
	stalled, sending atomic.Bool
}

// streamContext is that of a stream: one that stalled was out of time, not cancelled.
type streamContext struct {
	context.Context
	call *call
}

// Err implements context.Context.
func (c streamContext) Err() error {
	err := c.Context.Err()
	if err != nil && c.call.stalled.Load() {
		return context.DeadlineExceeded
	}
	return err
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// admit decides about a call from its headers, before its body is read, and bounds its time. gRPC calls it on the goroutine
// that reads the connection, so it waits for nothing.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	now := time.Now()
	who, err := s.identify(ctx, info.Header, now)
	if err == nil {
		err = s.authorize(who, info.FullMethodName)
	} else if open(info.FullMethodName) {
		err = nil
	}
	var done func()
	if err == nil {
		done, err = s.accounts.open(who.label, now)
	}
	c := &call{who: who}
	if err != nil {
		s.edge.refuse(reasonOf(err))
		// gRPC forgets to release the timer of a call that is refused here (its tap returns without a cancel), for as long as
		// the caller's own timeout says. A caller that asks for longer than any call may take is therefore refused later.
		if deadline, set := ctx.Deadline(); !set || deadline.Sub(now) <= s.edge.cfg.Limits.Deadline {
			return ctx, Status(err)
		}
		c.refused = err
	}
	ctx = context.WithValue(ctx, callKey{}, c)
	ctx = s.bound(ctx, c, info.FullMethodName, now)
	if done != nil {
		// The context ends with the call, however it ends.
		context.AfterFunc(ctx, done)
	}
	return ctx, nil
}

// bound gives a call its end: the deadline, for a stream the moment its peer stalls, and for both the moment the certificate
// expires. The contexts end with their parent, which gRPC cancels when the call is over.
func (s *Server) bound(ctx context.Context, c *call, method string, now time.Time) context.Context {
	var cancel context.CancelFunc
	if !c.who.until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, c.who.until)
		_ = cancel
	}
	if !s.streams[method] {
		ctx, cancel = context.WithDeadline(ctx, now.Add(s.edge.cfg.Limits.Deadline))
		_ = cancel
		return ctx
	}
	ctx, cancel = context.WithCancel(ctx)
	p, _ := peer.FromContext(ctx)
	c.stall = time.AfterFunc(s.edge.cfg.Limits.Stall, func() {
		s.edge.refuse("stalled")
		c.stalled.Store(true)
		cancel()
		// What the peer does not read would stay in memory, and gRPC's last word would wait behind it.
		if c.sending.Load() && p != nil {
			s.hangUp(p.Addr.String())
		}
	})
	return streamContext{ctx, c}
}

// open says whether a method needs no credentials: probes have none.
func open(method string) bool {
	return strings.HasPrefix(method, "/"+healthv1.Health_ServiceDesc.ServiceName+"/")
}

// authorize says why an identity may not call a method.
func (s *Server) authorize(who identity, method string) error {
	if open(method) || !s.edge.cfg.authenticates() {
		return nil
	}
	if len(who.names) == 0 {
		return fmt.Errorf("want a client certificate or a bearer token: %w", ErrUnauthenticated)
	}
	method = strings.TrimPrefix(method, "/")
	allowed, restricted := s.edge.allow[method]
	if !restricted {
		service, _, _ := strings.Cut(method, "/")
		allowed, restricted = s.edge.allow[service]
	}
	if !restricted {
		return nil
	}
	for _, name := range who.names {
		if allowed[name] {
			return nil
		}
	}
	return fmt.Errorf("%s may not call %s: %w", who.names[0], method, ErrPermission)
}

// reasonOf is the label under which a refusal is counted.
func reasonOf(err error) string {
	var quota *QuotaError
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return "unauthenticated"
	case errors.Is(err, ErrPermission):
		return "permission"
	case errors.As(err, &quota):
		return strings.ToLower(quota.Reason)
	default:
		return "other"
	}
}
