package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestWrongConfigurationGivesOneClearError: exit code 2 for what the user wrote, 1 for what cannot be reached, one line that
// names the key or the address, and never a stack trace.
func TestWrongConfigurationGivesOneClearError(t *testing.T) {
	t.Parallel()
	valid := fmt.Sprintf(configuration, binary)
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close) // the subtests outlive this function
	nobody := deadAddress(t)
	tests := map[string]struct {
		command string
		config  string
		code    int
		want    []string
	}{
		"unknown key":    {"predictor", strings.Replace(valid, "latency: 200ms", "latncy: 200ms", 1), 2, []string{"config.yaml:4:", `unknown key "workloads[0].slo.latncy"`, `did you mean "latency"?`}},
		"negative":       {"predictor", strings.Replace(valid, "{min: 1, max: 6}", "{min: -1, max: 6}", 1), 2, []string{"config.yaml:", "workloads[0].instances.min", "got -1"}},
		"no SLO":         {"provisioner", strings.Replace(valid, "slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}", "", 1), 2, []string{"slo: is missing"}},
		"no workloads":   {"replicator", "workloads: []", 2, []string{"workloads: is missing"}},
		"not YAML":       {"replicator", "workloads: [", 2, []string{"config.yaml:1:"}},
		"no broker":      {"predictor", valid + "kafka: {brokers: [\"" + nobody + "\"]}\n", 1, []string{nobody, "refused"}},
		"wrong password": {"predictor", valid + "kafka: {brokers: [\"" + broker.ListenAddrs()[0] + "\"], sasl: {mechanism: plain, username: ann, password: hunter2}}\n", 1, []string{broker.ListenAddrs()[0], "ann"}},
		"no database":    {"metrics-aggregator", valid + "database: {url: \"postgres://ann:hunter2@" + nobody + "/x\"}\n", 1, []string{nobody, "refused"}},
		"unknown flag":   {"predictor --colour", valid, 2, []string{"--colour"}},
		"for everyone":   {"predictor", valid + "predictor: {listen: \"0.0.0.0:0\"}\n", 2, []string{"predictor.listen", "plain text", "rpc.insecure"}},
		"no certificate": {"predictor", valid + "rpc: {tls: {certificate: gone.pem, key: gone.key}}\n", 2, []string{"rpc.tls", "gone.pem"}},
		"nobody allowed": {"predictor", valid + "rpc: {allow: [{service: foreshadow.v1.HistoryService, identities: [c]}]}\n", 2, []string{"rpc.allow"}},
		"weak token":     {"predictor", valid + "rpc: {token: hunter2}\n", 2, []string{"rpc.token", "7 characters"}},
		"no file":        {"predictor", "", 2, []string{"config.yaml", "no such file"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yaml")
			if tc.config != "" {
				if err := os.WriteFile(path, []byte(tc.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			code, out := execute(t, append(strings.Fields(tc.command), "--config", path)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not said in:\n%s", want, out)
				}
			}
			if lines := strings.Count(strings.TrimSpace(out), "\n"); lines > 0 || strings.Contains(out, "goroutine") || strings.Contains(out, "hunter2") {
				t.Errorf("want one clear line, got:\n%s", out)
			}
		})
	}
}

// TestUsage: the tools say what they want.
func TestUsage(t *testing.T) {
	t.Parallel()
	for args, code := range map[string]int{
		"version": 0, "--help": 0, "demo --policy psychic": 2, "demo --for -1s": 2, "demo extra": 2, "conquer": 2, "predictor": 2, "shop": 2,
		"experiment run": 2, "experiment show": 2, "experiment run -f gone.yaml": 2,
	} {
		if got, out := execute(t, strings.Fields(args)...); got != code {
			t.Errorf("foreshadow %s: exit code %d, want %d:\n%s", args, got, code, out)
		}
	}
}

func execute(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// deadAddress is an address where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}
