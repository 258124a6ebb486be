package kubernetes_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// processes are services of the built binary, which are started again when they end, as kubelets do.
type processes struct {
	t       *testing.T
	cluster *kubernetestest.Cluster
	binary  string
	config  string
	dir     string
	// listen and admin are the addresses of each, by name.
	listen, admin map[string]string
	brokers       kafka.Config
	conn          *grpc.ClientConn
	rate          atomic.Int64
	// since is when the present mode began.
	since time.Time

	mu      sync.Mutex
	running map[string]*os.Process
	actions []*foreshadowv1.ScalingApplied
}

// newProcesses starts the broker and writes the configuration of the others: no workload, and where the ShadowScalers are.
func newProcesses(t *testing.T, c *kubernetestest.Cluster) *processes {
	t.Helper()
	p := &processes{
		t: t, cluster: c, dir: t.TempDir(), binary: binary(t), listen: map[string]string{}, admin: map[string]string{}, running: map[string]*os.Process{},
		brokers: kafka.Default(),
	}
	p.config = filepath.Join(p.dir, "foreshadow.yaml")
	for _, name := range []string{"broker", "predictor", "provisioner"} {
		p.listen[name], p.admin[name] = freeAddress(t), freeAddress(t)
	}
	kubeconfig := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c"}}]}`, c.URL())
	config := fmt.Sprintf(`
kafka: {brokers: [%q]}
kubernetes: {kubeconfig: %q, shadow_scalers: %q}
predictor: {listen: %q, admin: %q, history: "127.0.0.1:1"}
provisioner: {listen: %q, admin: %q, history: "127.0.0.1:1", lease: {name: provisioner, namespace: %q, duration: 4s}}
`, p.listen["broker"], filepath.Join(p.dir, "kubeconfig"), c.Namespace, p.listen["predictor"], p.admin["predictor"],
		p.listen["provisioner"], p.admin["provisioner"], c.Namespace)
	for name, text := range map[string]string{"kubeconfig": kubeconfig, "foreshadow.yaml": config} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.run("broker", "--listen", p.listen["broker"], "--admin", p.admin["broker"], "--data-dir", filepath.Join(p.dir, "kafka"))
	p.brokers.Brokers = []string{p.listen["broker"]}
	c.Until("the broker", func() bool { return kafka.EnsureTopics(t.Context(), p.brokers, kafka.DefaultTopics()) == nil })
	var err error
	if p.conn, err = rpc.Dial(p.listen["provisioner"]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	p.background(func(ctx context.Context) error {
		cfg := kafka.TailConfig{Kafka: p.brokers, Topic: kafka.TopicScalingApplied, From: kafka.Latest()}
		return kafka.Tail(ctx, cfg, func(r kafka.Record) error {
			a := &foreshadowv1.ScalingApplied{}
			if err := r.Decode(a); err != nil {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.actions = append(p.actions, a)
			return nil
		})
	})
	return p
}

// binary is the built program; it is built when the environment names none.
func binary(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("FORESHADOW_BINARY"); given != "" {
		return given
	}
	path := filepath.Join(t.TempDir(), "foreshadow")
	if out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// background runs something until the test ends.
func (p *processes) background(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
}

func (p *processes) start(service string) { p.run(service, "--config", p.config) }

// run keeps a service running until the test ends. It may end by itself, which is how it takes over what is declared anew, but
// not with an error, unless it was killed.
func (p *processes) run(service string, args ...string) {
	logs, err := os.Create(filepath.Join(p.dir, service+".log"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = logs.Close()
		if data, err := os.ReadFile(logs.Name()); p.t.Failed() && err == nil {
			lines := strings.Split(strings.TrimSpace(string(data)), "\n")
			p.t.Logf("%s:\n%s", service, strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
	})
	p.background(func(ctx context.Context) error {
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, p.binary, append([]string{service}, args...)...)
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = logs, logs, 15*time.Second
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				return err
			}
			p.mu.Lock()
			p.running[service] = cmd.Process
			p.mu.Unlock()
			err := cmd.Wait()
			if state := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && ctx.Err() == nil && state.Signal() != syscall.SIGKILL {
				return fmt.Errorf("%s ended: %w", service, err)
			}
		}
		return nil
	})
}

// kill ends a service as kill -9 does; it is started again.
func (p *processes) kill(service string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.running[service].Kill(); err != nil {
		p.t.Fatal(err)
	}
}

// alive waits until a service says that it lives, and why it is not ready.
func (p *processes) alive(service, why string) {
	p.t.Helper()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + p.admin[service] + path)
		if err != nil {
			return 0, ""
		}
		defer func() { _ = resp.Body.Close() }()
		data, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data)
	}
	p.cluster.Until(service+" to be alive and "+why, func() bool {
		live, _ := get("/livez")
		ready, text := get("/readyz")
		return live == http.StatusOK && ready != http.StatusOK && strings.Contains(text, why)
	})
}

// call asks the provisioner until it answers.
func (p *processes) call(what string, ask func(foreshadowv1.ProvisioningServiceClient) error) {
	p.t.Helper()
	var err error
	defer func() {
		if err != nil {
			p.t.Logf("%s: %v", what, err)
		}
	}()
	p.cluster.Until(what, func() bool {
		p.conn.ResetConnectBackoff()
		err = ask(foreshadowv1.NewProvisioningServiceClient(p.conn))
		return err == nil
	})
}

// come sets how many requests a second users send from now on.
func (p *processes) come(rate int64) { p.rate.Store(rate) }

// users publish what the aggregator would: a window of traffic and one of usage a second.
func (p *processes) users(instances func() int) {
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = p.brokers, kafka.TopicMetricsWindowed, "/test"
	publisher, err := kafka.NewPublisher[*foreshadowv1.MetricsWindowed](cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.background(publisher.Run)
	p.come(100)
	p.background(func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			n, rate := int32(instances()), uint64(p.rate.Load()) // #nosec G115: both are small
			base := &foreshadowv1.MetricsWindowed{
				Workload: "shop", Environment: production, DurationSeconds: 1, Revision: 1,
				StartTime: timestamppb.New(time.Now().Add(-time.Second).Truncate(time.Second)),
			}
			traffic, usage := proto.CloneOf(base), base
			traffic.Content = &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{Strata: []*foreshadowv1.Traffic{
				{Stratum: &foreshadowv1.Stratum{Route: "GET /"}, Requests: rate, Responses: rate},
			}}}
			usage.Content = &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{DesiredInstances: n, ReadyInstances: n}}
			publisher.Publish("shop", traffic)
			publisher.Publish("shop", usage)
		}
	})
}
