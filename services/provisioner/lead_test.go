package provisioner

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/relay"
)

// readyz is what a contender's admin page says.
func (c contender) readyz() (ready bool, why string) {
	w := httptest.NewRecorder()
	c.admin.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code == http.StatusOK, w.Body.String()
}

func (b *clusterBench) ready(what string, c contender) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			_, why := c.readyz()
			b.t.Log(why)
		}
	}()
	b.until(what+" to be ready", func() bool { ready, _ := c.readyz(); return ready })
}

// ask is a client of a contender, of its own connection.
func (b *clusterBench) ask(edge *rpc.Edge, c contender) foreshadowv1.ProvisioningServiceClient {
	b.t.Helper()
	conn, err := edge.Dial(c.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return foreshadowv1.NewProvisioningServiceClient(conn)
}

func (b *clusterBench) status(client foreshadowv1.ProvisioningServiceClient) (*foreshadowv1.ProvisioningStatus, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), hangTimeout)
	defer cancel()
	resp, err := client.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: b.workload.Name})
	return resp.GetStatus(), err
}

// answers waits for an answer, as clients do that come again.
func (b *clusterBench) answers(who string, client foreshadowv1.ProvisioningServiceClient) *foreshadowv1.ProvisioningStatus {
	b.t.Helper()
	var got *foreshadowv1.ProvisioningStatus
	b.until("an answer by "+who, func() bool {
		var err error
		if got, err = b.status(client); err != nil && status.Code(err) != codes.Unavailable {
			b.t.Fatalf("%s: %v, want unavailable while it changes", who, err)
		}
		return err == nil
	})
	return got
}

func (b *clusterBench) pause(client foreshadowv1.ProvisioningServiceClient, actor string) error {
	_, err := client.PauseProvisioning(b.t.Context(), &foreshadowv1.PauseProvisioningRequest{Workload: b.workload.Name, Actor: actor})
	return err
}

// A client of whichever of them is answered by the one that leads, before and after it goes.
func reachesTheLeader(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	first := b.contender("a", nil)
	b.wait4(first.leads)
	second := b.contender("b", nil)
	b.ready("the reserve", second)
	through := b.ask(nil, second)
	if err := b.pause(through, "ann"); err != nil {
		t.Fatalf("through the reserve: %v", err)
	}
	if s := b.answers("the leader", b.ask(nil, first)); !s.GetPaused() || s.GetPauseActor() != "ann" {
		t.Errorf("the leader knows %v of a pause through the reserve", s)
	}
	first.stop()
	b.wait4(second.leads)
	if s := b.answers("the next leader", through); s.GetPauseActor() != "ann" { // over the connection of before
		t.Errorf("the next leader knows %v", s)
	}
	third := b.contender("c", nil)
	b.ready("the next reserve", third)
	if s := b.answers("the next reserve", b.ask(nil, third)); s.GetPauseActor() != "ann" {
		t.Errorf("through the next reserve %v", s)
	}
}

// Encryption is between the client and the leader, and so is who calls.
func TestAReserveUnderstandsNothingOfWhatItPassesOn(t *testing.T) {
	t.Parallel()
	b := newClusterBench(t, kubernetestest.NewOnFake(t), nil)
	ca := rpctest.NewAuthority(t)
	edge := func(adjust func(*rpc.Config)) *rpc.Edge {
		cfg := rpc.Default()
		adjust(&cfg)
		e, err := rpc.New(cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	contend := func(name string) contender {
		pair := ca.Issue(name, rpctest.Identity{DNS: []string{name}})
		return b.contender(name, func(_ *Config, d *Deps) {
			d.RPC = edge(func(c *rpc.Config) { c.TLS = rpc.TLS{Certificate: pair.Certificate, Key: pair.Key, CA: ca.File} })
		})
	}
	first := contend("first")
	b.wait4(first.leads)
	second := contend("second")
	b.ready("the reserve", second)
	ann := ca.Issue("ann", rpctest.Identity{DNS: []string{"ann.example"}})
	as := func(server string) foreshadowv1.ProvisioningServiceClient {
		return b.ask(edge(func(c *rpc.Config) {
			c.TLS = rpc.TLS{Certificate: ann.Certificate, Key: ann.Key, CA: ca.File, ServerName: server}
		}), second)
	}
	if err := b.pause(as("first"), ""); err != nil {
		t.Fatal(err)
	}
	if s, err := b.status(as("first")); err != nil || s.GetPauseActor() != "ann.example" {
		t.Errorf("paused by %q, %v", s.GetPauseActor(), err)
	}
	if _, err := b.status(as("second")); status.Code(err) != codes.Unavailable {
		t.Errorf("the certificate is the reserve's: %v", err)
	}
}

// A leader that says no address is one of an older release; a new one beside it is ready all the same, or no upgrade would end.
func TestAReserveOfALeaderWithoutAnAddress(t *testing.T) {
	t.Parallel()
	b := newClusterBench(t, kubernetestest.NewOnFake(t), nil)
	b.Create("coordination.k8s.io/v1", "leases", map[string]any{
		"kind": "Lease", "metadata": map[string]any{"name": "provisioner", "annotations": map[string]any{"foreshadow.dev/epoch": "1"}},
		"spec": map[string]any{"holderIdentity": "old"},
	})
	c := b.contender("new", nil)
	b.ready("the reserve", c)
	client := b.ask(nil, c)
	if _, err := b.status(client); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	b.wait4(c.leads) // the old one does not renew it
	b.answers("the new one", client)
}

func TestALeaderThatCannotBeReachedIsLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		view kubernetes.LeaseView
		says string
	}{
		"of an older release": {kubernetes.LeaseView{Holder: "a"}, "says no address"},
		"at our own address":  {kubernetes.LeaseView{Holder: "a", Address: "10.0.0.1:7005"}, "says the address of this process"},
		"elsewhere":           {kubernetes.LeaseView{Holder: "a", Address: "10.0.0.2:7005"}, "address=10.0.0.2:7005"},
	} {
		log := &bytes.Buffer{}
		deps := Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Admin: telemetry.NewAdmin(telemetry.NewRegistry())}
		w := &watcher{service: &Service{deps: deps}, door: relay.New(relay.Config{Self: "10.0.0.1:7005"}), address: "10.0.0.1:7005"}
		for range 3 {
			w.look(c.view)
		}
		if n := strings.Count(log.String(), c.says); n != 1 {
			t.Errorf("%s: %d times %q in %s", name, n, c.says, log)
		}
	}
}

// stuck is a platform that holds up the first call of a client.
type stuck struct {
	keeper
	first         *atomic.Bool
	held, release chan struct{}
}

func (s stuck) State(ctx context.Context, group string) (platform.State, error) {
	if _, client := peer.FromContext(ctx); client && s.first.CompareAndSwap(false, true) {
		close(s.held)
		<-s.release
	}
	return s.keeper.State(ctx, group)
}

// A leader that was deposed answers no call that is under way: what it knows may be outdated.
func TestADeposedLeaderAnswersNothing(t *testing.T) {
	t.Parallel()
	b := newClusterBench(t, kubernetestest.NewOnFake(t), nil)
	at := stuck{first: &atomic.Bool{}, held: make(chan struct{}), release: make(chan struct{})}
	leader := b.contender("a", func(_ *Config, d *Deps) {
		at.keeper = d.Platform.(keeper)
		d.Platform = at
	})
	b.wait4(leader.leads)
	client := b.ask(nil, leader)
	answer := make(chan error, 1)
	go func() {
		_, err := b.status(client)
		answer <- err
	}()
	<-at.held
	b.Patch("coordination.k8s.io/v1", "leases", "provisioner", map[string]any{"spec": map[string]any{"holderIdentity": "thief"}})
	if err := <-answer; status.Code(err) != codes.Unavailable {
		t.Errorf("answered with %v", err)
	}
	close(at.release)
	b.ready("the reserve of the thief", leader)
}

// An API server that is away costs the leadership. What was wrong then is not held against the process afterwards.
func TestReadyAgainAfterTheAPIServerWasAway(t *testing.T) {
	t.Parallel()
	b := newClusterBench(t, kubernetestest.NewOnFake(t), nil)
	c := b.contender("a", func(cfg *Config, d *Deps) {
		cfg.Lease.Duration = 2 * time.Second
		d.Election.(*leaseElection).cfg.Duration = 2 * time.Second
	})
	b.wait4(c.leads)
	b.ready("the leader", c)
	b.Faults.Inject(func(*http.Request) int { return kubernetestest.Sever })
	b.recommend(5, 0)
	b.until("the platform to be missed", func() bool {
		_, why := c.readyz()
		return strings.Contains(why, "production: platform")
	})
	b.until("it to know of nobody who leads", func() bool {
		ready, why := c.readyz()
		return !ready && strings.Contains(why, "who leads is not known")
	})
	if _, err := b.status(b.ask(nil, c)); status.Code(err) != codes.Unavailable {
		t.Errorf("answered with %v", err)
	}
	b.Faults.Inject(nil)
	b.ready("the leader once more", c)
	b.recommend(5, 0)
	b.action(production, applied)
	b.answers("the leader once more", b.ask(nil, c))
}
