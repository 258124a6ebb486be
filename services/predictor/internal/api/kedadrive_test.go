package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
)

// patience is the longest a test waits for what must come.
const patience = 30 * time.Second

// startOperator runs KEDA against an address until the test ends.
func startOperator(t *testing.T, address string, creds credentials.TransportCredentials) *operator {
	t.Helper()
	o, err := newOperator(address, creds)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = o.conn.Close()
	})
	return o
}

// await waits for what the streams bring.
func (o *operator) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		o.mu.Lock()
		ok := holds()
		o.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-o.news:
		case <-limit:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// mutual is how KEDA is given certificates: a TriggerAuthentication with caCert, tlsClientCert and tlsClientKey.
func mutual(t *testing.T) (*rpc.Edge, credentials.TransportCredentials) {
	t.Helper()
	ca := rpctest.NewAuthority(t)
	server, client := ca.Issue("predictor", rpctest.Identity{DNS: []string{"predictor"}}), ca.Issue("keda", rpctest.Identity{DNS: []string{"keda-operator"}})
	cfg := rpc.Default()
	cfg.TLS = rpc.TLS{Certificate: server.Certificate, Key: server.Key, CA: ca.File}
	cfg.Allow = []rpc.Rule{{Service: "externalscaler.ExternalScaler", Identities: []string{"keda-operator"}}}
	edge, err := rpc.New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(client.Certificate, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return edge, credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots})
}

func TestKEDAScalesFromZeroToManyAndBack(t *testing.T) {
	t.Parallel()
	secured, creds := mutual(t)
	for name, c := range map[string]struct {
		edge  *rpc.Edge
		creds credentials.TransportCredentials
	}{"plain text": {nil, insecure.NewCredentials()}, "mutual TLS": {secured, creds}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serveAt(t, c.edge, "127.0.0.1:0", time.Hour)
			t.Cleanup(r.stop)
			r.post("shop", 1, 0)
			o := startOperator(t, r.address, c.creds)
			o.await(t, "both streams speak at once", func() bool { return slices.Equal(o.told, []bool{false}) && o.specs == 1 })
			for i, step := range []struct {
				recommended int32
				first       int // after the push or the poll that decides between 0 and 1
				then        int // after the HPA
				exact       bool
			}{
				{0, 0, 0, false},                                     // nothing to do
				{7, 1, 7, false},                                     // 0 -> 1 by push, 1 -> N by the HPA
				{20, 7, 20, false},                                   // up
				{21, 20, 20, false},                                  // 5 % is within the HPA's own tolerance ...
				{21, 20, 21, true},                                   // ... which tolerance: 0 takes away
				{20, 21, 20, true},                                   // and so downwards
				{math.MaxInt32, 20, 100, false},                      // beyond maxReplicaCount
				{3, 100, 3, false},                                   // down
				{0, 0, 0, false}, {1, 1, 1, false}, {0, 0, 0, false}, // and to 0, by the poll
			} {
				r.post("shop", uint64(i+2), step.recommended)
				if o.size() == 0 && step.recommended > 0 { // no poll needed: the push alone wakes it
					o.await(t, "the push", func() bool { return o.replicas == 1 })
				} else if err := o.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := o.size(); got != step.first {
					t.Errorf("step %d, %d recommended: %d replicas before the HPA, want %d", i, step.recommended, got, step.first)
				}
				o.hpa.ToleranceUp, o.hpa.ToleranceDown = 0.1, 0.1
				if step.exact {
					o.hpa.ToleranceUp, o.hpa.ToleranceDown = 0, 0
				}
				if err := o.sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := o.size(); got != step.then {
					t.Errorf("step %d, %d recommended: %d replicas, want %d", i, step.recommended, got, step.then)
				}
			}
		})
	}
}

// down stops the predictor; whoever asks then gets an error.
func down(t *testing.T, r *rig, o *operator) {
	t.Helper()
	r.stop()
	if err := o.poll(t.Context()); status.Code(err) != codes.Unavailable {
		t.Fatalf("a poll while the predictor is away: %v", err)
	}
}

func TestKEDAHoldsWhileThePredictorIsAwayAndComesBack(t *testing.T) {
	t.Parallel()
	r := serveAt(t, nil, "127.0.0.1:0", time.Hour)
	r.post("shop", 1, 7)
	o := startOperator(t, r.address, insecure.NewCredentials())
	o.await(t, "the push", func() bool { return o.replicas == 1 })
	if err := o.sync(t.Context()); err != nil || o.size() != 7 {
		t.Fatalf("%d replicas, %v", o.size(), err)
	}
	down(t, r, o)
	o.await(t, "the stream's end", func() bool { return len(o.waits) > 0 })
	for range 5 {
		_ = o.poll(t.Context())
		if err := o.sync(t.Context()); err == nil || o.size() != 7 {
			t.Errorf("while the predictor is away: %d replicas, %v; want 7 and an error", o.size(), err)
		}
	}
	o.mu.Lock()
	if first := o.waits[0]; first != 2*time.Second {
		t.Errorf("the first wait after a clean end is %v, want KEDA's shortest", first)
	}
	before := len(o.told)
	o.mu.Unlock()
	again := serveAt(t, nil, r.address, time.Hour)
	t.Cleanup(again.stop)
	again.post("shop", 2, 9)
	o.await(t, "the stream is open again", func() bool { return len(o.told) > before })
	if err := o.sync(t.Context()); err != nil || o.size() != 9 {
		t.Errorf("after it came back: %d replicas, %v; want 9", o.size(), err)
	}
}

func TestKEDAFallsBackAsItsScaledObjectSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		running, replicas, want int
	}{"to the floor": {running: 2, replicas: 6, want: 6}, "never below what runs": {running: 9, replicas: 6, want: 9}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serveAt(t, nil, "127.0.0.1:0", time.Hour)
			t.Cleanup(r.stop)
			r.post("shop", 1, int32(c.running)) // #nosec G115: small
			o := startOperator(t, r.address, insecure.NewCredentials())
			o.fallback = &fallback{failureThreshold: 3, replicas: c.replicas}
			o.await(t, "the push", func() bool { return o.replicas == 1 && o.specs == 1 })
			if err := o.sync(t.Context()); err != nil || o.size() != c.running {
				t.Fatalf("%d replicas, %v", o.size(), err)
			}
			// The predictor answers, but what it knows may not be used any more: the same to KEDA as when it is away.
			r.clock.set(epoch.Add(time.Hour))
			for i := range 6 {
				if err := o.poll(t.Context()); status.Code(err) != codes.Unavailable {
					t.Fatal(err)
				}
				err := o.sync(t.Context())
				want := c.running
				if i >= o.fallback.failureThreshold {
					want = c.want
				}
				if o.size() != want || (err == nil) != (i >= o.fallback.failureThreshold) {
					t.Errorf("failure %d: %d replicas, %v; want %d", i+1, o.size(), err, want)
				}
			}
		})
	}
}

func TestKEDAsNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		integer int64
		float   float64
		want    float64
	}{
		{3, 0, 3}, {3, 4.5, 4.5}, {3, -1, 3}, {3, math.NaN(), 3}, {0, math.Inf(1), 0}, {-3, 0, 0}, {0, 0, 0},
	} {
		if got := number(c.integer, c.float); got != c.want {
			t.Errorf("KEDA reads %d and %v as %v, want %v", c.integer, c.float, got, c.want)
		}
	}
}
