package command

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const declared = `
workloads:
  - name: shop
    slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
    production: {platform: local, group: shop, process: {command: [./shop], ready_path: /healthz}}
    shadow: {platform: local, group: shop-shadow, process: {command: [./shop], ready_path: /healthz}}
    instances: {min: 2, max: 20}
`

// TestConfigNamesEachFaultOnce: a line a fault, under the name that the key has in the file.
func TestConfigNamesEachFaultOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ add, want string }{
		"production of two": {`  - name: cart
    slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
    production: {platform: local, group: shop, process: {command: [./cart], ready_path: /healthz}}
    shadow: {platform: local, group: cart-shadow, process: {command: [./cart], ready_path: /healthz}}`,
			`f.yaml:10: workloads[1].production.group: "shop" is workloads[0].production.group, too`},
		"shadow is production": {`  - name: cart
    slo: {quantile: 0.95, latency: 200ms, error_ratio: 0.01}
    production: {platform: local, group: cart, process: {command: [./cart], ready_path: /healthz}}
    shadow: {platform: local, group: shop, process: {command: [./cart], ready_path: /healthz}}`,
			`f.yaml:11: workloads[1].shadow.group: "shop" is workloads[0].production.group: a shadow request`},
		"broker":                          {"kafka: {brokers: [localhost]}", `kafka.brokers[0] "localhost": want host:port`},
		"database":                        {"database: {url: ''}", "database.url: is empty"},
		"database of another":             {"database: {url: 'mysql://x'}", "database.url: cannot parse"},
		"page's address":                  {"console: {listen: 8090}", `console.listen: want host:port, got "8090"`},
		"gRPC address":                    {"metrics_aggregator: {listen: x}", `metrics_aggregator.listen: want host:port, got "x"`},
		"no such port":                    {"predictor: {listen: '127.0.0.1:99999'}", `f.yaml:8: predictor.listen: there is no port "99999"`},
		"no such admin port":              {"console: {admin: '127.0.0.1:-1'}", `f.yaml:8: console.admin: there is no port "-1"`},
		"no such port of the history":     {"provisioner: {history: 'aggregator:70030'}", `f.yaml:8: provisioner.history: there is no port "70030"`},
		"no such port of the predictor's": {"predictor: {history: 'aggregator:0'}", `f.yaml:8: predictor.history: there is no port "0"`},
		"no port of the console's":        {"console: {predictor: 'predictor:'}", `f.yaml:8: console.predictor: there is no port ""`},
		"no such port of an experiment":   {"console: {shadow_runner: 'runner:7oo2'}", `f.yaml:8: console.shadow_runner: there is no port "7oo2"`},
		"no such port to be found at":     {"provisioner: {advertise: 'node:99999'}", `f.yaml:8: provisioner.advertise: there is no port "99999"`},
		"no such port of a broker":        {"kafka: {brokers: ['a:9092', 'b:90920']}", `f.yaml:8: kafka.brokers[1]: there is no port "90920"`},
		"no port of a broker":             {"kafka: {brokers: ['b:']}", `f.yaml:8: kafka.brokers[0] "b:": want host:port`},
		"no such port of a collector":     {"telemetry: {traces: {endpoint: 'otel:99999'}}", `f.yaml:8: telemetry.traces.endpoint: there is no port "99999"`},
		"no such port of an engine":       {"docker_platform: {engine: 'tcp://proxy:99999'}", `f.yaml:8: docker_platform.engine: there is no port "99999"`},
		"no number of an engine":          {"docker_platform: {engine: 'tcp://proxy:2375x'}", `f.yaml:8: docker_platform.engine: want unix:///path or tcp://host:port`},
		"no such port of Prometheus":      {"kubernetes: {usage: prometheus, prometheus: 'http://p:99999'}", `f.yaml:8: kubernetes.prometheus: there is no port "99999"`},
		"no such port of the database":    {"database: {url: 'postgres://db:99999/x'}", "f.yaml:8: database.url: cannot parse"},
		"one address twice": {"predictor: {listen: '127.0.0.1:7100'}\nconsole: {admin: 'localhost:7100'}",
			"f.yaml:9: console.admin: localhost:7100 is taken by predictor.listen, which is 127.0.0.1:7100"},
		"the address of a default": {"predictor: {listen: '127.0.0.1:8090'}", "f.yaml:8: predictor.listen: 127.0.0.1:8090 is taken by console.listen"},
		"the address of an agent":  {"console: {admin: '127.0.0.1:9107'}", "f.yaml:8: console.admin: 127.0.0.1:9107 is taken by local_platform.admin"},
		"the address of a stand-in": {"    replay: {dependencies: [{name: bank, listen: '127.0.0.1:8090', mode: block}]}",
			"f.yaml:8: workloads[0].replay.dependencies[0].listen: 127.0.0.1:8090 is taken by console.listen"},
		"every address": {"rpc: {insecure: true}\npredictor: {listen: '0.0.0.0:8090'}", "f.yaml:9: predictor.listen: 0.0.0.0:8090 is taken by console.listen"},
		"wrong type":    {"telemetry: {log_level: [info]}", "telemetry.log_level: want a text, got a list"},
		"misspelt service": {"rpc: {callers: [{name: ann, token: 0123456789abcdef0123456789abcdef}], allow: [{service: foreshadow.v1.ProvisionningService, identities: [ann]}]}",
			`rpc.allow[0].service: there is no "foreshadow.v1.ProvisionningService"; there are externalscaler.ExternalScaler, foreshadow.v1.`},
		"misspelt method": {"rpc: {callers: [{name: ann, token: 0123456789abcdef0123456789abcdef}], allow: [{service: foreshadow.v1.ProvisioningService/Pause, identities: [ann]}]}",
			`rpc.allow[0].service: foreshadow.v1.ProvisioningService has no method "Pause"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := refusedConfig(t, declared+tc.add+"\n")
			if len(said) != 1 || !strings.Contains(said[0], tc.want) {
				t.Errorf("said %q, want one line with %q", said, tc.want)
			}
		})
	}
}

func TestConfigAllowsRulesAboutWhatThereIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.yaml")
	rules := `
rpc:
  callers: [{name: ann, token: 0123456789abcdef0123456789abcdef}]
  allow:
    - {service: externalscaler.ExternalScaler, identities: [ann]}
    - {service: foreshadow.v1.ProvisioningService/PauseProvisioning, identities: [ann]}
    - {service: grpc.reflection.v1.ServerReflection, identities: [ann]}
`
	if err := os.WriteFile(path, []byte(declared+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(path); err != nil {
		t.Errorf("load: %v", err)
	}
}

// TestConfigAllowsAnyFreePort: port 0 is another one each time, one port of two hosts is two addresses, and the agent of
// a platform that no workload is on listens nowhere.
func TestConfigAllowsAnyFreePort(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.yaml")
	ports := "predictor: {listen: '127.0.0.1:0', admin: '127.0.0.1:0'}\nprovisioner: {listen: '127.0.0.1:7100', admin: '127.0.0.2:7100'}\n" +
		"console: {admin: '127.0.0.1:9110'}\n"
	if err := os.WriteFile(path, []byte(declared+ports), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	if code := Main([]string{"config", "--config", path}, &out, &problems); code != 0 {
		t.Errorf("exit code %d, said %q", code, problems.String())
	}
}

// TestConfigAllowsWhatCanBeDialled: whether a name is known, and a socket there, only the time of the call can tell.
func TestConfigAllowsWhatCanBeDialled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.yaml")
	for _, target := range []string{"nowhere.invalid:7003", "[2001:db8::1]:7003", "10.0.0.1:https", "unix:history.sock", "unix:///run/history.sock", "dns:///history"} {
		addresses := "kafka: {brokers: ['nowhere.invalid:9092']}\ntelemetry: {traces: {endpoint: 'nowhere.invalid:4317'}}\n" +
			"docker_platform: {engine: 'tcp://nowhere.invalid:2376'}\nkubernetes: {usage: prometheus, prometheus: 'https://nowhere.invalid/prometheus'}\n" +
			"predictor: {history: '" + target + "'}\nprovisioner: {history: '" + target + "', advertise: '2001:db8::1'}\nconsole: {shadow_runner: '" + target + "'}\n"
		if err := os.WriteFile(path, []byte(declared+addresses), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, problems bytes.Buffer
		if code := Main([]string{"config", "--config", path}, &out, &problems); code != 0 {
			t.Errorf("%s: exit code %d, said %q", target, code, problems.String())
		}
	}
}

// refusedConfig returns the lines that the command config says about a file it must refuse.
func refusedConfig(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	if code := Main([]string{"config", "--config", path}, &out, &problems); code != 2 || out.Len() > 0 {
		t.Errorf("exit code %d, said %q; want 2 and nothing", code, out.String())
	}
	return slices.Collect(strings.SplitSeq(strings.TrimSpace(problems.String()), "\n"))
}

func TestAnUnknownToolIsMisuse(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"nope":            `unknown command "nope" for "foreshadow"; see foreshadow --help`,
		"confg":           `unknown command "confg" for "foreshadow"; did you mean config?`,
		"provision plann": `unknown command "plann" for "foreshadow provision"; did you mean plan?`,
		"config f.yaml":   `foreshadow config takes flags, not "f.yaml"; see foreshadow config --help`,
		"experiment show": "foreshadow experiment show takes the id of one experiment, got 0",
	} {
		refused(t, want, strings.Fields(args))
	}
}
