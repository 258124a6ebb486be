// Command foreshadow scales a service before its users feel the load; see README.md.
package main

import (
	"io"
	"os"

	"google.golang.org/grpc/grpclog"

	"github.com/foreshadow/foreshadow/services/command"
)

func main() {
	// gRPC says on stderr, in a form of its own, what its calls return as well, and of each caller that leaves a watch. Who asks for
	// it hears it.
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr))
}
