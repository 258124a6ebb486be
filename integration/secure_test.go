package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
)

// TestTheStackOverMutualTLS: the services find each other with certificates, people come with a token, and nobody else gets
// anything.
func TestTheStackOverMutualTLS(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	service := ca.Issue("service", rpctest.Identity{URIs: []string{"spiffe://example.org/foreshadow"}})
	w := start(t, fmt.Sprintf(`
rpc:
  tls: {certificate: %q, key: %q, ca: %q, client_auth: optional}
  callers: [{name: ann, token: ann-0123456789abcdef}, {name: bob, token: bob-0123456789abcdef}]
  allow:
    - {service: foreshadow.v1.HistoryService, identities: ["spiffe://example.org/foreshadow"]}
    - {service: foreshadow.v1.ProvisioningService/PauseProvisioning, identities: [ann]}
`, service.Certificate, service.Key, ca.File))
	as := func(name string, change func(*rpc.Config)) (foreshadowv1.ProvisioningServiceClient, foreshadowv1.HistoryServiceClient) {
		cfg := rpc.Default()
		change(&cfg)
		e, err := rpc.New(cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		steer, err := e.Dial(w.Listen(stack.Provisioner))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		history, err := e.Dial(w.Listen(stack.Aggregator))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { _, _ = steer.Close(), history.Close() })
		return foreshadowv1.NewProvisioningServiceClient(steer), foreshadowv1.NewHistoryServiceClient(history)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, c := range map[string]struct {
		change         func(*rpc.Config)
		pause, history codes.Code
	}{
		"ann": {func(c *rpc.Config) { c.TLS.CA, c.Token = ca.File, "ann-0123456789abcdef" }, codes.OK, codes.PermissionDenied},
		"bob": {func(c *rpc.Config) { c.TLS.CA, c.Token = ca.File, "bob-0123456789abcdef" }, codes.PermissionDenied, codes.PermissionDenied},
		"a service": {func(c *rpc.Config) {
			c.TLS = rpc.TLS{CA: ca.File, Certificate: service.Certificate, Key: service.Key}
		}, codes.PermissionDenied, codes.OK},
		"nobody":     {func(c *rpc.Config) { c.TLS.CA = ca.File }, codes.Unauthenticated, codes.Unauthenticated},
		"plain text": {func(*rpc.Config) {}, codes.Unavailable, codes.Unavailable},
	} {
		steer, history := as(name, c.change)
		_, err := steer.PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{Workload: "shop", Reason: "audit"})
		if status.Code(err) != c.pause {
			t.Errorf("%s pauses: %v, want %v", name, err, c.pause)
		}
		_, err = history.QueryRecommendations(ctx, &foreshadowv1.QueryRecommendationsRequest{Workload: "shop"})
		if status.Code(err) != c.history {
			t.Errorf("%s reads history: %v, want %v", name, err, c.history)
		}
	}
	// Whoever may not pause sees that it is paused.
	steer, _ := as("a service", func(c *rpc.Config) {
		c.TLS = rpc.TLS{CA: ca.File, Certificate: service.Certificate, Key: service.Key}
	})
	resp, err := steer.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: "shop"})
	if err != nil || !resp.GetStatus().GetPaused() {
		t.Errorf("status: %v, %v", resp, err)
	}
}
