package rpc_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	spiffe = "spiffe://example.org/ns/foreshadow/sa/provisioner"
	pause  = "foreshadow.v1.ProvisioningService/PauseProvisioning"

	annsToken = workload.Secret("ann-0123456789abcdef")
	bobsToken = workload.Secret("bob-0123456789abcdef")
)

// fort is a server with everything turned on: the forecast is for keda and the provisioner, pausing is for ann, the rest for
// everyone who is somebody.
func fort(t *testing.T, ca *rpctest.Authority, clientAuth string) string {
	server := ca.Issue("server", rpctest.Identity{DNS: []string{"predictor"}})
	return start(t, edge(t, func(c *rpc.Config) {
		c.TLS = rpc.TLS{Certificate: server.Certificate, Key: server.Key, CA: ca.File, ClientAuth: clientAuth}
		c.Callers = []rpc.Caller{{Name: "ann", Token: annsToken}, {Name: "bob", Token: bobsToken}}
		c.Allow = []rpc.Rule{
			{Service: "foreshadow.v1.ForecastService", Identities: []string{"keda.example", spiffe, "by-common-name"}},
			{Service: pause, Identities: []string{"ann"}},
		}
	}))
}

// client is one who calls, with a certificate or a token or neither.
type client struct {
	ca    *rpctest.Authority // whose servers it trusts
	pair  rpctest.Pair
	token workload.Secret
	name  string // of the server
	plain bool
}

func (c client) edge(t *testing.T) *rpc.Edge {
	return edge(t, func(cfg *rpc.Config) {
		cfg.Token = c.token
		if !c.plain {
			cfg.TLS = rpc.TLS{CA: c.ca.File, Certificate: c.pair.Certificate, Key: c.pair.Key, ServerName: c.name}
		}
	})
}

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	ca, other := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	required, optional := fort(t, ca, ""), fort(t, ca, rpc.ClientAuthOptional)
	keda := ca.Issue("keda", rpctest.Identity{DNS: []string{"keda.example"}})
	const ok, unauthenticated, denied, away = codes.OK, codes.Unauthenticated, codes.PermissionDenied, codes.Unavailable
	for name, c := range map[string]struct {
		client
		required, optional, pausing codes.Code // the forecast of both servers, and pausing on the second
	}{
		"allowed DNS name":      {client{ca: ca, pair: keda}, ok, ok, denied},
		"allowed SPIFFE ID":     {client{ca: ca, pair: ca.Issue("id", rpctest.Identity{URIs: []string{spiffe}})}, ok, ok, denied},
		"allowed common name":   {client{ca: ca, pair: ca.Issue("cn", rpctest.Identity{CommonName: "by-common-name"})}, ok, ok, denied},
		"common name beside":    {client{ca: ca, pair: ca.Issue("beside", rpctest.Identity{CommonName: "by-common-name", DNS: []string{"x.example"}})}, denied, denied, denied},
		"wrong name":            {client{ca: ca, pair: ca.Issue("wrong", rpctest.Identity{DNS: []string{"intruder.example"}})}, denied, denied, denied},
		"no name":               {client{ca: ca, pair: ca.Issue("no-name", rpctest.Identity{})}, unauthenticated, unauthenticated, unauthenticated},
		"expired":               {client{ca: ca, pair: ca.Issue("old", rpctest.Identity{DNS: []string{"keda.example"}, Expires: time.Now().Add(-time.Minute)})}, away, away, away},
		"another authority":     {client{ca: ca, pair: other.Issue("keda", rpctest.Identity{DNS: []string{"keda.example"}})}, away, away, away},
		"no certificate":        {client{ca: ca}, away, unauthenticated, unauthenticated},
		"plain text":            {client{plain: true}, away, away, away},
		"ann's token":           {client{ca: ca, token: annsToken}, away, denied, ok},
		"bob's token":           {client{ca: ca, token: bobsToken}, away, denied, denied},
		"no one's token":        {client{ca: ca, token: "eve-0123456789abcdef"}, away, unauthenticated, unauthenticated},
		"token over name":       {client{ca: ca, pair: keda, token: bobsToken}, denied, denied, denied},
		"ann through keda":      {client{ca: ca, pair: keda, token: annsToken}, denied, denied, ok},
		"bad token, good name":  {client{ca: ca, pair: keda, token: "eve-0123456789abcdef"}, unauthenticated, unauthenticated, unauthenticated},
		"an impostor of server": {client{ca: other, pair: keda}, away, away, away},
		"server's other name":   {client{ca: ca, pair: keda, name: "provisioner"}, away, away, away},
		"server's name":         {client{ca: ca, pair: keda, name: "predictor"}, ok, ok, denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := dial(t, c.edge(t), required), dial(t, c.edge(t), optional)
			for what, call := range map[string]struct {
				err  error
				want codes.Code
			}{
				"forecast, certificate required": {forecast(t, foreshadowv1.NewForecastServiceClient(first)), c.required},
				"forecast, certificate optional": {forecast(t, foreshadowv1.NewForecastServiceClient(second)), c.optional},
				"pause": {func() error {
					_, err := foreshadowv1.NewProvisioningServiceClient(second).PauseProvisioning(t.Context(), &foreshadowv1.PauseProvisioningRequest{})
					return err
				}(), c.pausing},
			} {
				if got := status.Code(call.err); got != call.want {
					t.Errorf("%s: %v, want %v", what, call.err, call.want)
				}
			}
		})
	}
}

func forecast(t testing.TB, client foreshadowv1.ForecastServiceClient) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: "shop"})
	return err
}

func TestAServiceWithoutARuleIsForEveryoneWhoIsSomebody(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	address := fort(t, ca, rpc.ClientAuthOptional)
	watch := func(c client) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		stream, err := foreshadowv1.NewRecommendationServiceClient(dial(t, c.edge(t), address)).WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	if err := watch(client{ca: ca, token: bobsToken}); err != nil {
		t.Errorf("bob: %v", err)
	}
	if err := watch(client{ca: ca}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
	// Probes have no credentials, and nothing to do but this.
	resp, err := healthv1.NewHealthClient(dial(t, client{ca: ca}.edge(t), address)).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health for a probe: %v, %v", resp, err)
	}
}

func TestACallMadeInAnothersNameCarriesOnlyThatName(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	console := client{ca: ca, pair: ca.Issue("console", rpctest.Identity{DNS: []string{"console"}}), token: bobsToken}
	conn := dial(t, console.edge(t), fort(t, ca, ""))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+annsToken.Reveal())
	resp, err := foreshadowv1.NewProvisioningServiceClient(conn).PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{})
	if err != nil || resp.GetStatus().GetPauseActor() != "ann" {
		t.Errorf("paused by %q, %v; want ann", resp.GetStatus().GetPauseActor(), err)
	}
}

func TestMalformedAuthorizationIsRefused(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	conn := dial(t, client{ca: ca}.edge(t), fort(t, ca, rpc.ClientAuthOptional))
	good := "Bearer " + annsToken.Reveal()
	for _, values := range [][]string{{"Bearer"}, {"Bearer "}, {"Basic YW5uOnB3"}, {annsToken.Reveal()}, {good, good}, {good + string(make([]byte, 0)) + "x"}} {
		ctx := t.Context()
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
		}
		_, err := foreshadowv1.NewProvisioningServiceClient(conn).PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%q: %v", values, err)
		}
	}
}

func TestATokenIsNotSentInPlainTextToOthers(t *testing.T) {
	t.Parallel()
	e := edge(t, func(c *rpc.Config) { c.Token = annsToken })
	if conn, err := e.Dial("predictor:7004"); err == nil {
		_ = conn.Close()
		t.Error("dialled")
	}
	insecure := edge(t, func(c *rpc.Config) { c.Token, c.Insecure = annsToken, true })
	dial(t, insecure, "predictor:7004")
}

// eventually repeats a step until it reports true.
func eventually(t *testing.T, what string, step func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !step(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestRenewedFilesCountWithoutARestart(t *testing.T) {
	t.Parallel()
	ca, next := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	server := ca.Issue("server", rpctest.Identity{DNS: []string{"predictor"}})
	token := filepath.Join(t.TempDir(), "token")
	put(t, token, "first-0123456789abcdef\n")
	address := start(t, edge(t, func(c *rpc.Config) {
		c.TLS = rpc.TLS{Certificate: server.Certificate, Key: server.Key}
		c.Callers = []rpc.Caller{{Name: "ann", TokenFile: token}}
	}))
	call := func(trusted *rpctest.Authority, token workload.Secret) codes.Code {
		conn, err := client{ca: trusted, token: token}.edge(t).Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return status.Code(forecast(t, foreshadowv1.NewForecastServiceClient(conn)))
	}
	if got := call(ca, "first-0123456789abcdef"); got != codes.OK {
		t.Fatalf("before: %v", got)
	}
	// A certificate of a new authority, a broken one on the way there, and a new token.
	put(t, server.Certificate, "half a file")
	put(t, token, "second-0123456789abcdef")
	eventually(t, "the new token counts", func() bool { return call(ca, "second-0123456789abcdef") == codes.OK })
	if got := call(ca, "first-0123456789abcdef"); got != codes.Unauthenticated {
		t.Errorf("the old token: %v", got)
	}
	renewed := next.Issue("server", rpctest.Identity{DNS: []string{"predictor"}})
	copyFile(t, renewed.Key, server.Key)
	copyFile(t, renewed.Certificate, server.Certificate)
	eventually(t, "the new certificate counts", func() bool { return call(next, "second-0123456789abcdef") == codes.OK })
	if got := call(ca, "second-0123456789abcdef"); got != codes.Unavailable {
		t.Errorf("trusting the old authority only: %v", got)
	}
}

func TestAnOpenStreamEndsWhenItsCertificateExpires(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	address := fort(t, ca, "")
	// Certificates say whole seconds; it must still hold when the watch is opened.
	brief := client{ca: ca, pair: ca.Issue("brief", rpctest.Identity{DNS: []string{"brief"}, Expires: time.Now().Add(5 * time.Second)})}
	conn := dial(t, brief.edge(t), address)
	stream, err := foreshadowv1.NewRecommendationServiceClient(conn).WatchRecommendations(t.Context(), &foreshadowv1.WatchRecommendationsRequest{Workload: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the watch ended with %v", err)
	}
	// The connection is still there, and no longer good for anything.
	if err := forecast(t, foreshadowv1.NewForecastServiceClient(conn)); status.Code(err) != codes.Unauthenticated && status.Code(err) != codes.Unavailable {
		t.Errorf("a call on the old connection: %v", err)
	}
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	put(t, to, string(raw))
}
