package workload

import (
	"net"
	"strings"
	"time"
)

// Names of the platforms that a Target may be on.
const (
	PlatformLocal      = "local"
	PlatformKubernetes = "kubernetes"
	PlatformDocker     = "docker"
)

// Docker is a set of equal containers of a Docker engine, one of which the user has made.
type Docker struct {
	// Labels select the containers. Those of a service of Docker Compose are
	// {com.docker.compose.project: shop, com.docker.compose.service: web}.
	Labels map[string]string `yaml:"labels"`
	// Network that the instances are reached over; may be left out when they are on one only.
	Network string `yaml:"network"`
	// Port that the container serves on.
	Port int `yaml:"port"`
	// ReadyPath is the HTTP path that answers 200 once an instance can serve. Empty: the container's own health check says so,
	// or, without one, that it runs.
	ReadyPath string `yaml:"ready_path"`
	// StartTimeout is how long an instance may take to become ready.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// DrainTimeout is how long an instance may finish its requests before it is killed.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

func (d Docker) validate(key string, fault faultFunc) {
	if len(d.Labels) == 0 {
		fault(key+".labels", "is missing: without it every container of the engine would be meant")
	}
	for name := range d.Labels {
		if name == "" || strings.ContainsAny(name, "= ") {
			fault(key+".labels", "want the name of a label, got %q", name)
		}
	}
	if d.Port < 1 || d.Port > 65535 {
		fault(key+".port", "want the port that the container serves on, got %d", d.Port)
	}
	if d.ReadyPath != "" && !strings.HasPrefix(d.ReadyPath, "/") {
		fault(key+".ready_path", "want a path that begins with /, got %q", d.ReadyPath)
	}
	if d.StartTimeout < 0 || d.DrainTimeout < 0 {
		fault(key, "start_timeout and drain_timeout must not be negative")
	}
}

// Kubernetes is an object with a scale subresource: a Deployment, a StatefulSet, an Argo Rollout, any CustomResource.
type Kubernetes struct {
	// Namespace of the object.
	Namespace string `yaml:"namespace"`
	// APIVersion and Kind of the object; apps/v1 and Deployment when empty.
	APIVersion string `yaml:"api_version"`
	// Kind of the object.
	Kind string `yaml:"kind"`
	// Name of the object.
	Name string `yaml:"name"`
	// Container that serves requests, and whose CPU and memory are changed; the first one when empty.
	Container string `yaml:"container"`
	// Port that it serves on.
	Port int `yaml:"port"`
	// Copy has a shadow made as an isolated copy of production.
	Copy Copy `yaml:"copy"`
}

// Copy says how a shadow is made of production, in a namespace of its own: the image and the resources are the same, nothing
// of production's secrets, and the network is closed but for what is allowed. It is only for Deployments.
type Copy struct {
	// Enabled: the copy is made when it is missing, and follows production's template.
	Enabled bool `yaml:"enabled"`
	// Env sets environment variables of the container that serves.
	Env map[string]string `yaml:"env"`
	// Secrets maps a secret that production refers to to the one in the shadow's namespace that stands in for it. References to
	// any other secret are left out.
	Secrets map[string]string `yaml:"secrets"`
	// AllowEgress are networks, 10.1.2.0/24 for example, that the shadow may reach besides itself and DNS.
	AllowEgress []string `yaml:"allow_egress"`
	// AllowFrom are the namespaces whose pods may send requests to the shadow: that of the shadow-runner above all.
	AllowFrom []string `yaml:"allow_from"`
}

// Object returns the object with its defaults filled in.
func (k Kubernetes) Object() (apiVersion, kind string) {
	apiVersion, kind = k.APIVersion, k.Kind
	if kind == "" {
		kind = "Deployment"
	}
	if apiVersion == "" {
		apiVersion = "apps/v1"
	}
	return apiVersion, kind
}

func (k Kubernetes) validate(key string, fault faultFunc) {
	for name, value := range map[string]string{"namespace": k.Namespace, "name": k.Name} {
		if value == "" || strings.ContainsAny(value, "/ ") {
			fault(key+"."+name, "want the name of an object, got %q", value)
		}
	}
	if k.Port < 1 || k.Port > 65535 {
		fault(key+".port", "want the port that the container serves on, got %d", k.Port)
	}
	for _, c := range k.Copy.AllowEgress {
		if _, _, err := net.ParseCIDR(c); err != nil {
			fault(key+".copy.allow_egress", "want a network like 10.1.2.0/24, got %q", c)
		}
	}
	if strings.Count(k.APIVersion, "/") > 1 {
		fault(key+".api_version", "want group/version, got %q", k.APIVersion)
	}
}
