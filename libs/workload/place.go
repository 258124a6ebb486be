package workload

import (
	"strings"
	"time"
)

// Names of the platforms that a Target may be on.
const (
	PlatformLocal      = "local"
	PlatformKubernetes = "kubernetes"
	PlatformDocker     = "docker"
)

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
	// Copy has the shadow made as an isolated copy of production.
	Copy Copy `yaml:"copy"`
}

// Copy says how a shadow is made of production.
type Copy struct {
	// Enabled: the object is made, kept like production, and removed on request.
	Enabled bool `yaml:"enabled"`
	// Env replaces environment variables of the container.
	Env map[string]string `yaml:"env"`
	// Secrets maps a secret of production to the one in the shadow's namespace that stands in for it. What refers to any other
	// secret is left out of the copy.
	Secrets map[string]string `yaml:"secrets"`
	// AllowEgress are the CIDRs, each with an optional :port, that the shadow may reach besides itself and DNS.
	AllowEgress []string `yaml:"allow_egress"`
	// AllowFrom are the namespaces whose pods may send requests to the shadow: that of the shadow-runner.
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
	if strings.Count(k.APIVersion, "/") > 1 {
		fault(key+".api_version", "want group/version, got %q", k.APIVersion)
	}
}

// Docker is one container per instance.
type Docker struct {
	// Image of the containers.
	Image string `yaml:"image"`
	// Command replaces that of the image.
	Command []string `yaml:"command"`
	// Env is added to the environment.
	Env map[string]string `yaml:"env"`
	// Network that the containers join; requests come over it.
	Network string `yaml:"network"`
	// Port that a container serves on.
	Port int `yaml:"port"`
	// ReadyPath is the HTTP path that answers 200 once the instance can serve.
	ReadyPath string `yaml:"ready_path"`
	// StartTimeout is how long a container may take to become ready.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// DrainTimeout is how long a container may finish its requests before it is killed.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// Initial is the number of containers to start with when there are none yet.
	Initial int `yaml:"initial"`
}

func (d Docker) validate(key string, fault faultFunc) {
	if d.Image == "" {
		fault(key+".image", "is missing")
	}
	if d.Port < 1 || d.Port > 65535 {
		fault(key+".port", "want the port that the container serves on, got %d", d.Port)
	}
	if !strings.HasPrefix(d.ReadyPath, "/") {
		fault(key+".ready_path", "want a path that begins with /, got %q", d.ReadyPath)
	}
	if d.StartTimeout < 0 || d.DrainTimeout < 0 || d.Initial < 0 {
		fault(key, "start_timeout, drain_timeout and initial must not be negative")
	}
}
