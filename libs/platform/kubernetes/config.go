package kubernetes

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// Platform is the name of this platform in workload.Target.
const Platform = workload.PlatformKubernetes

// Sources of usage.
const (
	// UsageMetrics reads metrics.k8s.io: CPU and memory, as old as the metrics server lets them be.
	UsageMetrics = "metrics"
	// UsagePrometheus reads the counters of cAdvisor from Prometheus: CPU, memory and network.
	UsagePrometheus = "prometheus"
)

// Config is the section kubernetes of the configuration file.
type Config struct {
	// Kubeconfig is the file that says how to reach the API server. Empty: the pod's own service account, or else what kubectl
	// would use.
	Kubeconfig string `yaml:"kubeconfig"`
	// Context of the kubeconfig; empty is its current one.
	Context string `yaml:"context"`
	// RequestsPerSecond bounds what is asked of the API server, with bursts of twice as much.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// Usage is where the usage of the instances is read: metrics or prometheus.
	Usage string `yaml:"usage"`
	// Prometheus is the base URL of its HTTP API, for usage: prometheus.
	Prometheus string `yaml:"prometheus"`
	// NodeHeadroom refuses to add instances that no node has room for. It needs the right to list all nodes and pods; leave it
	// off where an autoscaler adds nodes.
	NodeHeadroom bool `yaml:"node_headroom"`
	// ShadowScalers is the namespace whose ShadowScaler objects declare workloads besides those of the file; empty = none do.
	ShadowScalers string `yaml:"shadow_scalers"`
}

// DefaultConfig works in a pod.
func DefaultConfig() Config { return Config{RequestsPerSecond: 20, Usage: UsageMetrics} }

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	if !(c.RequestsPerSecond > 0) {
		errs = append(errs, fmt.Errorf("requests_per_second: must be positive, got %v", c.RequestsPerSecond))
	}
	switch c.Usage {
	case UsageMetrics:
	case UsagePrometheus:
		if u, err := url.Parse(c.Prometheus); err != nil || u.Host == "" {
			errs = append(errs, fmt.Errorf("prometheus: want the URL of a Prometheus server, got %q", c.Prometheus))
		}
	default:
		errs = append(errs, fmt.Errorf("usage: want metrics or prometheus, got %q", c.Usage))
	}
	return errors.Join(errs...)
}

// restConfig says how to reach the API server.
func (c Config) restConfig() (*rest.Config, error) {
	cfg, err := c.find()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	cfg.UserAgent = "foreshadow"
	cfg.QPS, cfg.Burst = float32(c.RequestsPerSecond), max(1, int(2*c.RequestsPerSecond))
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, nil
}

func (c Config) find() (*rest.Config, error) {
	if c.Kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return rest.InClusterConfig()
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.Context}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
}

// Groups returns the groups that workloads have on Kubernetes, by name. Two targets may share a group only when it is the
// same object.
func Groups(workloads []workload.Workload) (map[string]workload.Kubernetes, error) {
	groups := map[string]workload.Kubernetes{}
	var errs []error
	for _, w := range workloads {
		for _, t := range []workload.Target{w.Production, w.Shadow} {
			if t.Platform != Platform {
				continue
			}
			if other, taken := groups[t.Group]; taken && identity(other) != identity(t.Kubernetes) {
				errs = append(errs, fmt.Errorf("workload %q: group %q is taken by another object", w.Name, t.Group))
			}
			groups[t.Group] = t.Kubernetes
		}
	}
	return groups, errors.Join(errs...)
}

func identity(k workload.Kubernetes) string {
	apiVersion, kind := k.Object()
	return fmt.Sprintf("%s %s %s/%s", apiVersion, kind, k.Namespace, k.Name)
}
