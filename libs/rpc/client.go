package rpc

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// defaultDeadline is that of a call whose caller set none.
const defaultDeadline = 30 * time.Second

// authorization is the metadata key of a bearer token.
const authorization = "authorization"

// Dial returns a client connection; it connects when first used and by itself again after a loss. Calls without a deadline
// get one of 30 s. Where the Edge has TLS the server must show a certificate of its CA for the host that is dialled. A call
// that carries no authorization gets the process's own token; a token is never sent in plain text beyond loopback unless
// the configuration says insecure.
func (e *Edge) Dial(address string) (*grpc.ClientConn, error) {
	e = e.orPlain()
	transport := insecure.NewCredentials()
	if e.files != nil {
		transport = &reloading{edge: e}
	} else if e.token != nil && !e.cfg.Insecure && !Loopback(address) {
		return nil, fmt.Errorf("dial %s: rpc.token would travel in plain text: give rpc.tls, or say rpc.insecure: true", address)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// gRPC's own backoff grows to 2 minutes; a service that is back is wanted within a second.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithChainUnaryInterceptor(e.unaryClient), grpc.WithChainStreamInterceptor(e.streamClient),
	}
	if e.tracing != nil {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler(e.traced()...)))
	}
	if name := e.cfg.TLS.ServerName; name != "" {
		options = append(options, grpc.WithAuthority(name)) // which the certificate is compared with
	}
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return conn, nil
}

func (e *Edge) unaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
		defer cancel()
	}
	return invoke(e.identify(ctx), method, req, reply, cc, opts...)
}

func (e *Edge) streamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(e.identify(ctx), desc, cc, method, opts...)
}

// identify adds the process's own token, unless the call is made in another's name.
func (e *Edge) identify(ctx context.Context) context.Context {
	if e.token == nil {
		return ctx
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get(authorization)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, authorization, "Bearer "+e.token.get())
}
