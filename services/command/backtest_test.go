package command

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/rpc/rpctest"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// days is a HistoryService that has seen two days of a service that repeats itself.
type days struct {
	foreshadowv1.UnimplementedHistoryServiceServer
}

func (days) QueryWindows(_ context.Context, r *foreshadowv1.QueryWindowsRequest) (*foreshadowv1.QueryWindowsResponse, error) {
	out := &foreshadowv1.QueryWindowsResponse{}
	from := r.GetEndTime().AsTime().Add(-48 * time.Hour)
	for i := range 2 * 288 {
		requests := uint64(3000)
		if i%288 > 100 && i%288 < 200 {
			requests = 30000
		}
		out.Windows = append(out.Windows, &foreshadowv1.MetricsWindowed{
			StartTime: timestamppb.New(from.Add(time.Duration(i) * 5 * time.Minute)), DurationSeconds: 300,
			Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{Strata: []*foreshadowv1.Traffic{{Requests: requests}}}},
		})
	}
	return out, nil
}

// services is the least configuration of services that speak TLS.
const services = `
rpc: {tls: {certificate: %s, key: %s, ca: %s}}
workloads:
  - name: shop
    slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
    production: {platform: local, group: shop, cpu_cores: 0.5, process: {command: [./shop], ready_path: /healthz, initial: 2}}
    shadow: {platform: local, group: shop-shadow, process: {command: [./shop], ready_path: /healthz}}
    instances: {min: 2, max: 20}
`

func TestBacktestSpeaksToTheHistoryAsTheServicesDo(t *testing.T) {
	t.Parallel()
	ca := rpctest.NewAuthority(t)
	edge := func(name string) rpc.Config {
		c, pair := rpc.Default(), ca.Issue(name, rpctest.Identity{CommonName: name})
		c.TLS = rpc.TLS{Certificate: pair.Certificate, Key: pair.Key, CA: ca.File}
		return c
	}
	served, err := rpc.New(edge("history"), slog.New(slog.DiscardHandler), telemetry.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := served.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := served.NewServer(slog.New(slog.DiscardHandler))
	foreshadowv1.RegisterHistoryServiceServer(server, days{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		<-done
	})

	path := filepath.Join(t.TempDir(), "foreshadow.yaml")
	own := edge("operator")
	text := fmt.Sprintf(services, own.TLS.Certificate, own.TLS.Key, own.TLS.CA)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"backtest", "--history", ln.Addr().String(), "--workload", "shop", "--last", "48h", "--step", "5m", "--tick", "5m", "--policies", "Static"}
	var out, errs bytes.Buffer
	if code := Main(append(args, "--config", path), &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if !strings.Contains(out.String(), "Kubernetes HPA at target 70 %") {
		t.Errorf("no report:\n%s", out.String())
	}
	errs.Reset()
	if code := Main(args, &out, &errs); code != 1 {
		t.Errorf("in plain text: exit code %d: %s", code, errs.String())
	}
	errs.Reset()
	if code := Main([]string{"backtest", "--csv", "x.csv", "--config", path}, &out, &errs); code != 2 || !strings.Contains(errs.String(), "--history") {
		t.Errorf("a configuration without a history: exit code %d: %s", code, errs.String())
	}
}
