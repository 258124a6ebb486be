package console_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/console"
)

func TestThePageOverHTTPS(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	pair := ca.Issue("console", rpctest.Identity{})
	secured := rpc.Default()
	secured.TLS = rpc.TLS{Certificate: pair.Certificate, Key: pair.Key, CA: ca.File}
	edge, err := rpc.New(secured, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := console.DefaultConfig()
	cfg.TLS = true
	deps := func(e *rpc.Edge) console.Deps {
		return console.Deps{
			Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Admin: telemetry.NewAdmin(prometheus.NewRegistry()),
			Workloads: []workload.Workload{shopWorkload()}, RPC: e,
		}
	}
	if _, err := console.New(cfg, deps(nil)); err == nil || !strings.Contains(err.Error(), "console.tls") {
		t.Errorf("without a certificate: %v", err)
	}
	service, err := console.New(cfg, deps(edge))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, service, ln)
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + ln.Addr().String() + "/api/v1/workloads")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("answered %s", resp.Status)
	}
}
