package replicator_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// echo is a gRPC service of one method: it sends back each message, says how many there were in a trailer, and fails as it
// is told to.
func echo(_ any, stream grpc.ServerStream) error {
	n := 0
	for {
		m := &wrapperspb.StringValue{}
		err := stream.RecvMsg(m)
		switch {
		case errors.Is(err, io.EOF):
			stream.SetTrailer(metadata.Pairs("x-count", strings.Repeat("i", n)))
			return nil
		case err != nil:
			return err
		case m.GetValue() == "unavailable":
			return status.Error(codes.Unavailable, "as asked")
		case m.GetValue() == "not found":
			return status.Error(codes.NotFound, "as asked")
		}
		n++
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

func startEcho(t *testing.T) *httptest.Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.v1.EchoService", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", Handler: echo, ServerStreams: true, ClientStreams: true}},
	}, struct{}{})
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	return &httptest.Server{URL: "http://" + ln.Addr().String()}
}

// TestGRPCPassesAndIsCopied: unary and streaming both ways, trailers, compression and errors, with grpc-go at both ends.
func TestGRPCPassesAndIsCopied(t *testing.T) {
	t.Parallel()
	r := start(t, options{
		workload: func(w *workload.Workload) {
			w.Tap.Methods = []string{"POST"}
			w.Tap.Routes = []string{"/test.v1.EchoService/Echo"}
		},
		config: func(c *replicator.Config) { c.KeepBodies = append(c.KeepBodies, "application/grpc") },
	})
	r.use(startEcho(t))
	conn, err := grpc.NewClient(strings.TrimPrefix(r.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	call := func(options []grpc.CallOption, messages ...string) (string, codes.Code) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.v1.EchoService/Echo", options...)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err := stream.SendMsg(wrapperspb.String(m)); err != nil {
				t.Fatal(err)
			}
			got := &wrapperspb.StringValue{}
			if err := stream.RecvMsg(got); err != nil { // each message comes back before the next is sent
				return "", status.Code(err)
			}
			if got.GetValue() != m {
				t.Errorf("got %d bytes, want %d", len(got.GetValue()), len(m))
			}
		}
		_ = stream.CloseSend()
		if err := stream.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ended with %v", err)
		}
		return strings.Join(stream.Trailer().Get("x-count"), " "), codes.OK
	}
	if n, code := call(nil, "one"); n != "i" || code != codes.OK {
		t.Errorf("unary: %q %v", n, code)
	}
	if n, code := call([]grpc.CallOption{grpc.UseCompressor(gzip.Name)}, "one", strings.Repeat("x", 100_000), "three"); n != "iii" || code != codes.OK {
		t.Errorf("streaming: %q %v", n, code)
	}
	if _, code := call(nil, "unavailable"); code != codes.Unavailable {
		t.Errorf("got %v", code)
	}
	if _, code := call(nil, "not found"); code != codes.NotFound {
		t.Errorf("got %v", code)
	}
	_ = conn.Close()
	copies := r.captured()
	unary := 0
	for _, c := range copies {
		if c.GetTarget() != "/test.v1.EchoService/Echo" || c.GetProtocol() != "HTTP/2.0" || c.GetMethod() != "POST" {
			t.Errorf("copy %v", c)
		}
		// A message in its frame: no compression, 5 bytes, field 1 of type bytes.
		if string(c.GetBody()) == "\x00\x00\x00\x00\x05\x0a\x03one" && c.GetBodyDisposition() == foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL {
			unary++
		}
	}
	if unary != 1 || len(copies) < 2 {
		t.Errorf("%d copies, %d of them the unary call", len(copies), unary)
	}
	_, sum := r.observed()
	if total := sum.Total(); total.Requests != 4 || total.Errors != 1 {
		t.Errorf("observed %+v", total)
	}
}
